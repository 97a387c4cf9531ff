# Flags that every target of ours shares: osprey_flags. OpenMP, too: oneDNN's CPU library runs on
# GNU's OpenMP (libgomp), and two OpenMP runtimes in one process would double the threads.
#
# clang emits calls of its own runtime (__kmpc_*) for OpenMP pragmas. With it the pragmas are left
# out: our kernels then run on one thread (oneDNN's do not). That serves the warning gate, the
# sanitizers and the fuzz targets; for speed, build with gcc.
add_library(osprey_flags INTERFACE)
target_compile_options(osprey_flags INTERFACE -Wall -Wextra -Wvla -Wstrict-prototypes
                       -Wpointer-arith -Wwrite-strings
                       -Werror=implicit-function-declaration)
if(OSPREY_WERROR)
    target_compile_options(osprey_flags INTERFACE -Werror)
endif()

if(OSPREY_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES Clang)
        message(FATAL_ERROR "OSPREY_FUZZ needs clang: configure with CC=clang")
    endif()
    set(OSPREY_SANITIZE ON)
    add_compile_options(-fsanitize=fuzzer-no-link)
    add_compile_definitions(OSP_FUZZING)
endif()
if(OSPREY_SANITIZE)
    add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all
                        -fno-omit-frame-pointer)
    add_link_options(-fsanitize=address,undefined)
endif()

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

if(CMAKE_C_COMPILER_ID MATCHES Clang)
    execute_process(COMMAND gcc -print-file-name=libgomp.so OUTPUT_VARIABLE gcc_gomp
                    OUTPUT_STRIP_TRAILING_WHITESPACE)
    add_library(osprey_openmp INTERFACE)
    target_compile_options(osprey_openmp INTERFACE -I${CMAKE_SOURCE_DIR}/cmake/clang
                           -Wno-unknown-pragmas -Wno-source-uses-openmp)
    target_link_libraries(osprey_openmp INTERFACE ${gcc_gomp})
else()
    find_package(OpenMP REQUIRED COMPONENTS C)
    add_library(osprey_openmp INTERFACE)
    target_link_libraries(osprey_openmp INTERFACE OpenMP::OpenMP_C)
endif()

# osprey_source_options("-O3;-fno-math-errno" a.c b.c): extra options for files of osprey_objects,
# from a folder's CMakeLists.txt.
function(osprey_source_options options)
    set_property(SOURCE ${ARGN} TARGET_DIRECTORY osprey_objects
                 APPEND PROPERTY COMPILE_OPTIONS ${options})
endfunction()
