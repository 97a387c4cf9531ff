// Paths: sources of images, output folders, the engine cache's folder.
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

void osp_cli_list_add(osp_cli_list *list, const char *item)
{
    list->items = osp_cli_grow(list->items, &list->capacity, (size_t)list->count + 1,
                               sizeof *list->items);
    list->items[list->count++] = osp_cli_text("%s", item);
}

void osp_cli_list_free(osp_cli_list *list)
{
    for (int32_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (osp_cli_list){0};
}

const char *osp_cli_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *osp_cli_stem(const char *path)
{
    char *stem = osp_cli_text("%s", osp_cli_base_name(path));
    char *dot = strrchr(stem, '.');
    if (dot && dot != stem)
        *dot = 0;
    return stem;
}

// Formats that the library refuses are among them: an image left out in silence would look empty.
static int is_image(const struct dirent *entry)
{
    static const char *const endings[] = {".jpg",  ".jpeg", ".png", ".bmp",
                                          ".webp", ".tif",  ".tiff"};
    const char *dot = strrchr(entry->d_name, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(dot, endings[i]) == 0)
            return 1;
    return 0;
}

static int32_t add_folder(const char *dir, osp_cli_list *out)
{
    struct dirent **entries;
    int n = scandir(dir, &entries, is_image, alphasort);
    if (n < 0)
        return -1;
    for (int i = 0; i < n; i++) {
        size_t length = strlen(dir);
        char *path = osp_cli_text("%s%s%s", dir, dir[length - 1] == '/' ? "" : "/",
                                  entries[i]->d_name);
        osp_cli_list_add(out, path);
        free(path);
        free(entries[i]);
    }
    free(entries);
    return n;
}

// A source of which nothing came is told here.
static bool add_source(const char *source, osp_cli_list *out)
{
    struct stat info;
    if (stat(source, &info) == 0) {
        if (!S_ISDIR(info.st_mode)) {
            osp_cli_list_add(out, source);
            return true;
        }
        int32_t n = add_folder(source, out);
        if (n < 0)
            osp_cli_say("%s: %s: name a folder that can be read", source, strerror(errno));
        else if (n == 0)
            osp_cli_say("%s: no images in this folder: name one with .jpg or .png files", source);
        return n > 0;
    }
    int error = errno;
    glob_t found = {0};
    bool any = strpbrk(source, "*?[") && glob(source, 0, NULL, &found) == 0;
    for (size_t i = 0; any && i < found.gl_pathc; i++)
        osp_cli_list_add(out, found.gl_pathv[i]);
    globfree(&found);
    if (!any)
        osp_cli_say("%s: %s: name an image, a folder or a pattern", source,
                    strpbrk(source, "*?[") ? "nothing matches" : strerror(error));
    return any;
}

int osp_cli_images(const char *const *sources, int32_t count, osp_cli_list *out)
{
    int status = OSP_CLI_DONE;
    for (int32_t i = 0; i < count; i++)
        if (!add_source(sources[i], out))
            status = OSP_CLI_INPUT;
    return status;
}

int osp_cli_make_dirs(const char *path)
{
    char *copy = osp_cli_text("%s", path);
    bool made = true;
    for (char *p = copy + 1; made && *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        made = mkdir(copy, 0777) == 0 || errno == EEXIST || errno == EROFS || errno == EACCES;
        *p = '/';
    }
    struct stat info;
    made = made && (mkdir(copy, 0777) == 0 || errno == EEXIST);
    int error = errno;
    if (made && (stat(copy, &info) != 0 || !S_ISDIR(info.st_mode))) {
        made = false;
        error = ENOTDIR;
    }
    free(copy);
    if (made)
        return OSP_CLI_DONE;
    osp_cli_say("%s: %s: name a folder that can be made or written", path, strerror(error));
    return OSP_CLI_FAILED;
}

int osp_cli_read_lines(const char *path, osp_cli_list *out)
{
    FILE *file = fopen(path, "r");
    if (!file) {
        osp_cli_say("%s: %s: name a text file with one name a line", path, strerror(errno));
        return OSP_CLI_INPUT;
    }
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, file) > 0) {
        line[strcspn(line, "\r\n")] = 0;
        if (*line)
            osp_cli_list_add(out, line);
    }
    bool failed = ferror(file);
    free(line);
    fclose(file);
    if (!failed && out->count)
        return OSP_CLI_DONE;
    osp_cli_say("%s: %s: name a text file with one name a line", path,
                failed ? "cannot be read" : "holds no names");
    return OSP_CLI_INPUT;
}

static bool contains(const osp_cli_list *list, const char *item)
{
    for (int32_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], item) == 0)
            return true;
    return false;
}

char *osp_cli_unique(osp_cli_list *taken, const char *name)
{
    char *candidate = osp_cli_text("%s", name);
    for (int n = 2; contains(taken, candidate); n++) {
        const char *dot = strrchr(name, '.');
        int stem = dot && dot != name ? (int)(dot - name) : (int)strlen(name);
        free(candidate);
        candidate = osp_cli_text("%.*s_%d%s", stem, name, n, name + stem);
    }
    osp_cli_list_add(taken, candidate);
    return candidate;
}

char *osp_cli_cache_dir(const osp_cli_settings *set)
{
    if (set->no_cache)
        return NULL;
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (set->cache_dir)
        return osp_cli_text("%s", set->cache_dir);
    if (xdg && *xdg == '/')
        return osp_cli_text("%s/osprey", xdg);
    return home && *home == '/' ? osp_cli_text("%s/.cache/osprey", home) : NULL;
}

char *osp_cli_library_dir(const osp_cli_settings *set)
{
    if (set->library_dir)
        return osp_cli_text("%s", set->library_dir);
    const char *active = getenv("VIRTUAL_ENV"), *home = getenv("HOME");
    static const char tail[] = "lib/python3*/*-packages/tensorrt_libs";
    char *patterns[] = {active && *active == '/' ? osp_cli_text("%s/%s", active, tail) : NULL,
                        home && *home == '/' ? osp_cli_text("%s/.local/%s", home, tail) : NULL,
                        osp_cli_text("/usr/local/%s", tail), osp_cli_text("/usr/%s", tail)};
    char *found = NULL;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        glob_t matches;
        if (patterns[i] && !found && glob(patterns[i], 0, NULL, &matches) == 0) {
            // The last: of several Pythons the newest, more or less.
            found = osp_cli_text("%s", matches.gl_pathv[matches.gl_pathc - 1]);
            globfree(&matches);
        }
        free(patterns[i]);
    }
    return found;
}
