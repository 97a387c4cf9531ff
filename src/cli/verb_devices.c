// osprey devices: what there is to run on, and why not more.
#include "cli.h"

static void print_json(const osp_cli *cli)
{
    osp_cli_json json;
    osp_device_info info;
    osp_cli_json_init(&json, stdout);
    osp_cli_json_open(&json, NULL, '{');
    osp_cli_json_open(&json, "devices", '[');
    for (int32_t i = 0; !osp_device_get(cli->runtime, i, &info, NULL); i++) {
        osp_cli_json_open(&json, NULL, '{');
        osp_cli_json_string(&json, "backend", osp_cli_backend_name(info.backend));
        osp_cli_json_int(&json, "index", info.index);
        osp_cli_json_string(&json, "name", info.name);
        osp_cli_json_int(&json, "cc_major", info.cc_major);
        osp_cli_json_int(&json, "cc_minor", info.cc_minor);
        osp_cli_json_int(&json, "multiprocessors", info.multiprocessors);
        osp_cli_json_uint(&json, "memory_bytes", info.memory_bytes);
        osp_cli_json_uint(&json, "memory_free_bytes", info.memory_free_bytes);
        osp_cli_json_bool(&json, "memory_known", info.memory_known);
        osp_cli_json_real(&json, "memory_bytes_per_s", info.memory_bytes_per_s, 6);
        osp_cli_json_real(&json, "fp16_flops_per_s", info.fp16_flops_per_s, 6);
        osp_cli_json_string(&json, "pci_id", info.pci_id);
        osp_cli_json_string(&json, "uuid", info.uuid);
        osp_cli_json_string(&json, "isa", info.isa);
        osp_cli_json_string(&json, "reason", info.reason);
        osp_cli_json_close(&json, '}');
    }
    osp_cli_json_close(&json, ']');
    osp_cli_json_close(&json, '}');
    osp_cli_json_end(&json);
}

int osp_cli_devices(osp_cli *cli)
{
    if (cli->set.json) {
        print_json(cli);
        return OSP_CLI_DONE;
    }
    osp_cli_table table;
    osp_device_info info;
    osp_cli_table_init(&table, "lrlrrl");
    osp_cli_table_add(&table, "backend\tindex\tname\tcores\tmemory\tkind");
    for (int32_t i = 0; !osp_device_get(cli->runtime, i, &info, NULL); i++) {
        char memory[32], kind[64];
        osp_cli_bytes_text(info.memory_bytes, memory);
        if (info.backend == OSP_BACKEND_CPU)
            snprintf(kind, sizeof kind, "%s", info.isa);
        else
            snprintf(kind, sizeof kind, "compute capability %d.%d", info.cc_major, info.cc_minor);
        osp_cli_table_add(&table, "%s\t%d\t%s\t%d\t%s\t%s", osp_cli_backend_name(info.backend),
                          info.index, info.name, info.multiprocessors,
                          info.memory_known ? memory : "unknown", kind);
    }
    osp_cli_table_print(&table, "");
    for (int32_t i = 0; !osp_device_get(cli->runtime, i, &info, NULL); i++)
        if (info.reason[0])
            printf("%s: %s\n", info.name, info.reason);
    return OSP_CLI_DONE;
}
