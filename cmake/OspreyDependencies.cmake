# The libraries behind libosprey: osprey_dependencies. docs/dependencies.md says why each.
find_package(PkgConfig REQUIRED)
find_package(JPEG REQUIRED)
pkg_check_modules(SPNG REQUIRED IMPORTED_TARGET spng)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)

# oneDNN 3.x: what scripts/deps unpacked into .deps/onednn, or one the system has (Debian 12's is
# 2.6: too old). OSPREY_ONEDNN_BUNDLED: install a copy of it beside libosprey.
set(OSPREY_DEPS_DIR ${CMAKE_SOURCE_DIR}/.deps CACHE PATH "Where scripts/deps puts libraries")
add_library(osprey_onednn INTERFACE)
find_path(onednn_include oneapi/dnnl/dnnl.h PATHS ${OSPREY_DEPS_DIR}/onednn/include
          NO_DEFAULT_PATH NO_CACHE)
if(onednn_include)
    set(OSPREY_ONEDNN_BUNDLED ON)
    set(OSPREY_ONEDNN_LIBRARY ${OSPREY_DEPS_DIR}/onednn/lib/libdnnl.so.3)
    add_library(osprey_dnnl SHARED IMPORTED)
    set_target_properties(osprey_dnnl PROPERTIES IMPORTED_LOCATION ${OSPREY_ONEDNN_LIBRARY}
                          IMPORTED_SONAME libdnnl.so.3)
    target_include_directories(osprey_dnnl SYSTEM INTERFACE ${onednn_include})
    target_link_libraries(osprey_onednn INTERFACE osprey_dnnl)
else()
    set(OSPREY_ONEDNN_BUNDLED OFF)
    find_package(dnnl 3.0 CONFIG QUIET)
    if(NOT dnnl_FOUND)
        message(FATAL_ERROR "oneDNN 3.x not found: run `make deps`, or set CMAKE_PREFIX_PATH")
    endif()
    if(DEFINED DNNL_CPU_THREADING_RUNTIME AND NOT DNNL_CPU_THREADING_RUNTIME STREQUAL "OMP")
        message(WARNING "this oneDNN runs its threads by ${DNNL_CPU_THREADING_RUNTIME}, not "
                        "OpenMP: the library's thread budget does not reach it")
    endif()
    target_link_libraries(osprey_onednn INTERFACE DNNL::dnnl)
endif()

add_library(osprey_dependencies INTERFACE)
target_link_libraries(osprey_dependencies INTERFACE osprey_onednn osprey_openmp JPEG::JPEG
                      PkgConfig::SPNG PkgConfig::XXHASH Threads::Threads ${CMAKE_DL_LIBS} m)
