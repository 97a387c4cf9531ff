// What a warp does together on matrices, by its last lane for all of them: see host/host_ptx.h.
// Layouts of fragments are those of the PTX manual, "Matrix multiply-accumulate operation".
#include "host/host_ptx.h"

#include "host_internal.h"

namespace {

// All halves as floats: looking up is much quicker than converting.
struct Floats {
    float of[65536];
    Floats()
    {
        for (unsigned i = 0; i < 65536; i++)
            of[i] = osp_half_to_float((uint16_t)i);
    }
};
const Floats floats;

template <typename T> const T &lane_of(void *const *lanes, int i)
{
    if (!lanes[i])
        host_die("lane %d of the warp has returned", i);
    return *(const T *)lanes[i];
}

struct Loading {
    uint32_t (&r)[4];
    uint32_t address;
    bool turned;
    unsigned thread;
};

// Lane i has of each matrix row i / 4, columns i % 4 * 2 and the next; where it is turned, that
// column and those rows.
void load_all(void *const *lanes)
{
    for (int m = 0; m < 4; m++) {
        const uint16_t *rows[8];
        for (int i = 0; i < 8; i++) {
            const Loading &from = lane_of<Loading>(lanes, m * 8 + i);
            rows[i] = (const uint16_t *)host_shared_at(from.address, 16, 16);
            host_race(rows[i], 16, from.thread, false);
        }
        for (int i = 0; i < 32; i++) {
            const Loading &to = lane_of<Loading>(lanes, i);
            const int line = i / 4, pair = i % 4 * 2;
            const uint16_t low = to.turned ? rows[pair][line] : rows[line][pair];
            const uint16_t high = to.turned ? rows[pair + 1][line] : rows[line][pair + 1];
            to.r[m] = low | (uint32_t)high << 16;
        }
    }
}

struct Product {
    float (&d)[4];
    const uint32_t (&a)[4];
    uint32_t b[2];
};

void put(float *to, int step, uint32_t pair)
{
    to[0] = floats.of[pair & 0xFFFF];
    to[step] = floats.of[pair >> 16];
}

// A: register j of lane i has row i / 4 + j % 2 * 8, columns i % 4 * 2 + j / 2 * 8 and the next. B the
// same with its rows and columns exchanged. Sums: row i / 4 + j / 2 * 8, column i % 4 * 2 + j % 2.
void multiply_all(void *const *lanes)
{
    float a[16][16], b[16][8], d[16][8];
    for (int i = 0; i < 32; i++) {
        const Product &p = lane_of<Product>(lanes, i);
        const int row = i / 4, pair = i % 4 * 2;
        for (int j = 0; j < 4; j++) {
            put(&a[row + j % 2 * 8][pair + j / 2 * 8], 1, p.a[j]);
            d[row + j / 2 * 8][pair + j % 2] = p.d[j];
        }
        for (int j = 0; j < 2; j++)
            put(&b[pair + j * 8][row], 8, p.b[j]);
    }
    for (int m = 0; m < 16; m++)
        for (int k = 0; k < 16; k++)
            for (int n = 0; n < 8; n++)
                d[m][n] += a[m][k] * b[k][n];
    for (int i = 0; i < 32; i++)
        for (int j = 0; j < 4; j++)
            ((const Product *)lanes[i])->d[j] = d[i / 4 + j / 2 * 8][i % 4 * 2 + j % 2];
}

}  // namespace

void host_load_matrix4(uint32_t (&r)[4], uint32_t address, bool turned)
{
    Loading mine = {r, address, turned, host_thread()};
    host_warp_together(load_all, &mine);
}

void host_multiply(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    Product mine = {d, a, {b0, b1}};
    host_warp_together(multiply_all, &mine);
}
