// Finds objects in one image: detect MODEL.onnx PHOTO.jpg
//
//     cc detect.c $(pkg-config --cflags --libs osprey) -o detect
#include <osprey/osprey.h>
#include <stdio.h>

// Engines are built once and kept in this folder.
#define CACHE "osprey-cache"
enum { MOST = 300 };

static int run(osp_runtime *runtime, osp_engine *engine, const char *photo, osp_error *err)
{
    osp_detector *detector = NULL;
    osp_image image = {0};
    osp_detection boxes[MOST];
    size_t count = 0;
    osp_status status = osp_detector_open(&detector, engine, NULL, err);
    if (!status)
        status = osp_image_read(runtime, photo, &image, err);
    if (!status)
        status = osp_detector_run(detector, &image, 1, boxes, MOST, &count, err);
    for (size_t i = 0; i < count; i++) {
        const osp_detection *b = &boxes[i];
        const char *name = osp_engine_class_name(engine, b->class_id);
        printf("%-10s %.2f  %7.1f %7.1f %7.1f %7.1f\n", name ? name : "?", b->score, b->x1, b->y1,
               b->x2, b->y2);
    }
    osp_image_free(&image);
    osp_detector_close(&detector);
    return status;
}

int main(int argc, char **argv)
{
    osp_runtime *runtime = NULL;
    osp_engine *engine = NULL;
    osp_error err = {0};
    // The network may take pixels where that is faster; detectors do not mind.
    const osp_engine_options options = {.image_input = {.format = OSP_PIXELS_AUTO}};
    if (argc != 3)
        return fprintf(stderr, "usage: detect MODEL.onnx PHOTO.jpg\n"), 2;
    osp_status status = osp_runtime_open(&runtime, NULL, &err);
    if (!status)
        status = osp_engine_open_cached(&engine, runtime, argv[1], CACHE, NULL, &options, &err);
    if (!status)
        status = run(runtime, engine, argv[2], &err);
    if (status)
        fprintf(stderr, "%s\n", err.text);
    osp_engine_close(&engine);
    osp_runtime_close(&runtime);
    return status != OSP_OK;
}
