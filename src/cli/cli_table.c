// Aligned columns of text for people. Cells come tab-separated; names inside come from files, so
// control characters are replaced and widths are counted in code points.
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

void osp_cli_print_clean(FILE *to, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        // C1 controls are two bytes in UTF-8: C2 80..9F.
        bool c1 = *p == 0xC2 && p[1] >= 0x80 && p[1] < 0xA0;
        fputc(*p < 0x20 || *p == 0x7F || c1 ? '?' : *p, to);
        p += c1;
    }
}

static int32_t width(const char *text)
{
    int32_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

void osp_cli_table_init(osp_cli_table *table, const char *align)
{
    *table = (osp_cli_table){.columns = (int32_t)strlen(align), .align = align};
}

void osp_cli_table_add(osp_cli_table *table, const char *format, ...)
{
    char *row;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&row, format, args);
    va_end(args);
    if (n < 0) {
        osp_cli_say("out of memory");
        exit(OSP_CLI_FAILED);
    }
    size_t columns = (size_t)table->columns;
    table->cells = osp_cli_grow(table->cells, &table->capacity, table->count + columns,
                                sizeof *table->cells);
    char *rest = row;
    for (size_t c = 0; c < columns; c++) {
        char *cell = c + 1 < columns ? strsep(&rest, "\t") : rest;
        table->cells[table->count++] = osp_cli_text("%s", cell ? cell : "");
    }
    free(row);
}

void osp_cli_table_print(osp_cli_table *table, const char *indent)
{
    int32_t widths[16] = {0};
    for (size_t i = 0; i < table->count; i++) {
        int32_t w = width(table->cells[i]), *widest = &widths[i % (size_t)table->columns];
        *widest = w > *widest ? w : *widest;
    }
    for (size_t i = 0; i < table->count; i++) {
        size_t c = i % (size_t)table->columns;
        bool last = c + 1 == (size_t)table->columns;
        int32_t gap = widths[c] - width(table->cells[i]);
        fputs(c ? "  " : indent, stdout);
        if (table->align[c] == 'r')
            printf("%*s", gap, "");
        osp_cli_print_clean(stdout, table->cells[i]);
        if (table->align[c] == 'l' && !last)
            printf("%*s", gap, "");
        if (last)
            fputc('\n', stdout);
    }
    osp_cli_table_free(table);
}

void osp_cli_table_free(osp_cli_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
    table->cells = NULL;
    table->count = table->capacity = 0;
}
