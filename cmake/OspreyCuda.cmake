# The CUDA toolchain. nvcc is called by custom commands, one per .cu file and by its dependency file;
# CMake's own CUDA language would insist on a whole toolkit on every machine.
#
# OSPREY_CUDA_FOUND    whether GPU code is part of this build
# osprey_cuda          interface target: CUDA's headers, and the static runtime with what it needs
# osprey_cuda_sources(FILE...)   in a folder's CMakeLists.txt: .cu files of the library
# osprey_cuda_finish()           once, after all folders: OSPREY_CUDA_OBJECTS, target osprey_kernels
set(OSPREY_CUDA AUTO CACHE STRING "GPU code: AUTO (where nvcc is found), ON or OFF")
set_property(CACHE OSPREY_CUDA PROPERTY STRINGS AUTO ON OFF)
# sm_90a: Hopper's own instructions. Its PTX, compute_90, lets the driver compile for later ones.
set(OSPREY_CUDA_ARCHS "80;86;89;90a" CACHE STRING "GPU architectures; one is quicker to build")
# The same machine code, in a library two to three times as large.
option(OSPREY_CUDA_LINES "Line numbers in GPU code, for ncu and compute-sanitizer" OFF)
define_property(GLOBAL PROPERTY OSPREY_CUDA_SOURCES BRIEF_DOCS ".cu files" FULL_DOCS ".cu files")

set(OSPREY_CUDA_FOUND OFF)
add_library(osprey_cuda INTERFACE)
if(OSPREY_CUDA STREQUAL "AUTO" OR OSPREY_CUDA)
    # .deps first: it is there only where scripts/deps found no other.
    find_program(OSPREY_NVCC nvcc HINTS ${OSPREY_DEPS_DIR}/cuda/bin PATHS /usr/local/cuda/bin
                 DOC "The CUDA compiler")
    set(why "")
    if(NOT OSPREY_NVCC)
        set(why "nvcc is not found: run `make deps`")
    else()
        execute_process(COMMAND ${OSPREY_NVCC} --version OUTPUT_VARIABLE text ERROR_QUIET)
        string(REGEX MATCH "release ([0-9]+)\\.([0-9]+)" text "${text}")
        set(cuda_version ${CMAKE_MATCH_1}.${CMAKE_MATCH_2})
        if(NOT text OR cuda_version VERSION_LESS 12.0)
            set(why "${OSPREY_NVCC} is CUDA ${cuda_version}, and 12.0 or later is needed")
        endif()
        file(REAL_PATH ${OSPREY_NVCC} nvcc_real)
        cmake_path(GET nvcc_real PARENT_PATH cuda_root)
        cmake_path(GET cuda_root PARENT_PATH cuda_root)
        set(system targets/${CMAKE_SYSTEM_PROCESSOR}-linux)
        find_path(cuda_include cuda_runtime_api.h PATHS ${cuda_root} ${cuda_root}/${system}
                  PATH_SUFFIXES include NO_DEFAULT_PATH NO_CACHE)
        find_library(OSPREY_CUDART libcudart_static.a PATHS ${cuda_root} ${cuda_root}/${system}
                     PATH_SUFFIXES lib64 lib NO_DEFAULT_PATH DOC "The static CUDA runtime")
        if(NOT cuda_include OR NOT OSPREY_CUDART)
            set(why "${cuda_root} has no cuda_runtime_api.h or no libcudart_static.a")
        endif()
    endif()
    find_program(cuda_host g++ NO_CACHE)
    if(NOT cuda_host)
        set(why "nvcc needs g++, which is not found")
    endif()
    if(NOT why)
        set(OSPREY_CUDA_FOUND ON)
    elseif(NOT OSPREY_CUDA STREQUAL "AUTO")
        message(FATAL_ERROR "OSPREY_CUDA is ON, but ${why}")
    endif()
else()
    set(why "OSPREY_CUDA is OFF")
endif()

if(OSPREY_CUDA_FOUND)
    message(STATUS "CUDA ${cuda_version} (${OSPREY_NVCC}) for ${OSPREY_CUDA_ARCHS}")
    target_include_directories(osprey_cuda SYSTEM INTERFACE ${cuda_include})
    find_library(cuda_rt rt NO_CACHE)  # part of the C library where it is not found
    target_link_libraries(osprey_cuda INTERFACE ${OSPREY_CUDART} $<$<BOOL:${cuda_rt}>:rt>
                          Threads::Threads ${CMAKE_DL_LIBS})
else()
    message(STATUS "GPU backends are left out: ${why}")
endif()

function(osprey_cuda_sources)
    foreach(file ${ARGN})
        set_property(GLOBAL APPEND PROPERTY OSPREY_CUDA_SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/${file})
    endforeach()
endfunction()

# Makes an object of a .cu file, and appends its name to the list LIST of the caller. Kernels keep
# multiply and add apart (-fmad=false): they give the same bits as the CPU's code.
function(osprey_cuda_object source list)
    set(flags -std=c++17 -O3 -cudart static -fmad=false --Werror all-warnings
        # No C++ runtime: the library is linked by the C compiler.
        -Xcompiler -fPIC,-fvisibility=hidden,-fno-exceptions,-fno-rtti,-fno-threadsafe-statics,-Wall
        -I ${CMAKE_SOURCE_DIR}/src -I ${CMAKE_SOURCE_DIR}/include -ccbin ${cuda_host})
    foreach(arch ${OSPREY_CUDA_ARCHS})
        list(APPEND flags -gencode arch=compute_${arch},code=sm_${arch})
    endforeach()
    list(APPEND flags -gencode arch=compute_90,code=compute_90)
    if(OSPREY_CUDA_LINES)
        list(APPEND flags -lineinfo)
    endif()
    # Whether there is code for what only sm_90a has.
    list(FIND OSPREY_CUDA_ARCHS 90a sm90a)
    list(APPEND flags -DOSP_SM90A=$<NOT:$<EQUAL:${sm90a},-1>>)
    cmake_path(GET source FILENAME name)
    set(object ${CMAKE_BINARY_DIR}/kernels/${name}.o)
    add_custom_command(OUTPUT ${object}
        COMMAND ${OSPREY_NVCC} ${flags} -MD -MF ${object}.d -c ${source} -o ${object}
        COMMAND ${CMAKE_OBJCOPY} -w --keep-global-symbol=osp_* ${object}
        DEPENDS ${source} DEPFILE ${object}.d COMMENT "Building CUDA object ${name}.o"
        VERBATIM)
    set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
    set(${list} ${${list}} ${object} PARENT_SCOPE)
endfunction()

function(osprey_cuda_finish)
    set(objects "")
    if(OSPREY_CUDA_FOUND)
        file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/kernels)
        get_property(sources GLOBAL PROPERTY OSPREY_CUDA_SOURCES)
        foreach(source ${sources})
            osprey_cuda_object(${source} objects)
        endforeach()
    endif()
    add_custom_target(osprey_kernels DEPENDS ${objects})
    set(OSPREY_CUDA_OBJECTS ${objects} PARENT_SCOPE)
endfunction()
