// The command-line program: finds the verb, reads its options, runs it.
#include <stdlib.h>
#include <string.h>

#include "cli.h"

// clang-format off
static const osp_cli_verb verbs[] = {
    {"devices", "", "Lists the devices and what runs on them.",
     OSP_VERB_DEVICES, 0, 0, osp_cli_devices},
    {"inspect", "FILE", "Tells what is in an ONNX model or a plan.",
     OSP_VERB_INSPECT, 1, 1, osp_cli_inspect},
    {"build", "MODEL.onnx", "Compiles a model into a plan for one device.",
     OSP_VERB_BUILD, 1, 1, osp_cli_build},
    {"run", "FILE", "Runs a model or plan on tensors and writes its outputs.",
     OSP_VERB_RUN, 1, 1, osp_cli_run},
    {"detect", "FILE SOURCE...", "Finds objects in images, folders of images, or patterns.",
     OSP_VERB_DETECT, 2, -1, osp_cli_detect},
    {"compare", "FILE", "Compares outputs with those of another backend or file.",
     OSP_VERB_COMPARE, 1, 1, osp_cli_compare},
    {"bench", "FILE", "Measures time: engine only, and from pixels to boxes.",
     OSP_VERB_BENCH, 1, 1, osp_cli_bench},
};
// clang-format on
enum { VERBS = sizeof verbs / sizeof *verbs };

static const osp_cli_verb *find(const char *name)
{
    for (size_t i = 0; i < VERBS; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static void print_help(void)
{
    puts("usage: osprey VERB [OPERAND]... [OPTION]...\n"
         "Runs object detectors on GPUs and CPUs.\n");
    for (size_t i = 0; i < VERBS; i++)
        printf("  %-8s %-16s %s\n", verbs[i].name, verbs[i].operands, verbs[i].summary);
    puts("\n  osprey VERB --help   options of a verb\n"
         "  osprey --version     version of the program and of the library\n\n"
         "Exit status: 0 done, 1 failed while running, 2 usage, 3 bad input file,\n"
         "4 operator or feature not supported, 5 device not available.");
}

static void print_version(void)
{
    const int32_t v = osp_version();
    printf("osprey %d.%d.%d (library %d.%d.%d)\n", OSP_VERSION_MAJOR, OSP_VERSION_MINOR,
           OSP_VERSION_PATCH, v / 10000, v / 100 % 100, v % 100);
}

static int run_verb(const osp_cli_verb *verb, int argc, char **argv)
{
    osp_cli cli = {0};
    int status = osp_cli_options_parse(&cli.set, verb, argc, argv);
    if (status == OSP_CLI_DONE && cli.set.help) {
        osp_cli_options_help(stdout, verb);
        return OSP_CLI_DONE;
    }
    if (status == OSP_CLI_DONE)
        status = osp_cli_runtime_open(&cli);
    if (status == OSP_CLI_DONE)
        status = verb->run(&cli);
    osp_cli_close(&cli);
    return status;
}

static int run(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : NULL;
    if (!word)
        return osp_cli_usage("which verb: see osprey --help");
    bool help = strcmp(word, "help") == 0;
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || (help && argc == 2)) {
        print_help();
        return OSP_CLI_DONE;
    }
    if (strcmp(word, "--version") == 0) {
        print_version();
        return OSP_CLI_DONE;
    }
    const osp_cli_verb *verb = find(help ? argv[2] : word);
    if (!verb)
        return osp_cli_usage("unknown %s '%s': see osprey --help", *word == '-' ? "option" : "verb",
                             help ? argv[2] : word);
    if (help) {
        osp_cli_options_help(stdout, verb);
        return OSP_CLI_DONE;
    }
    return run_verb(verb, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    int status = run(argc, argv);
    if (ferror(stdout) || fflush(stdout) != 0) {
        osp_cli_say("standard output: cannot be written");
        return status ? status : OSP_CLI_FAILED;
    }
    return status;
}
