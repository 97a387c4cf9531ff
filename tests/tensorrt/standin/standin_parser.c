// The stand-in's libnvonnxparser: the one function that it exports.
#include "standin.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT void *createNvOnnxParser_INTERNAL(void *network, void *logger, int32_t version);
EXPORT void *createNvOnnxParser_INTERNAL(void *network, void *logger, int32_t version)
{
    return standin_make_parser(network, logger, version);
}
