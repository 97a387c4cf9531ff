# make install: header, both libraries, program, man page, completion, pkg-config file, CMake
# package; in <lib>/osprey oneDNN where it came from .deps (libosprey finds it by $ORIGIN), and the
# static CUDA runtime for those who link libosprey.a.
include(CMakePackageConfigHelpers)

set_target_properties(osprey PROPERTIES INSTALL_RPATH "$ORIGIN/osprey")
file(RELATIVE_PATH bin_to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
set_target_properties(osprey_program PROPERTIES INSTALL_RPATH "$ORIGIN/${bin_to_lib}")

install(TARGETS osprey EXPORT OspreyTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS osprey_static ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS osprey_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES include/osprey/osprey.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/osprey)
install(FILES docs/osprey.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES completions/osprey.bash RENAME osprey
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
if(OSPREY_ONEDNN_BUNDLED)
    install(FILES ${OSPREY_ONEDNN_LIBRARY} DESTINATION ${CMAKE_INSTALL_LIBDIR}/osprey
            PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
                        WORLD_READ WORLD_EXECUTE)
    install(DIRECTORY ${OSPREY_DEPS_DIR}/onednn/licenses/
            DESTINATION ${CMAKE_INSTALL_DOCDIR}/onednn)
    set(OSPREY_PC_DNNL "\${libdir}/osprey/libdnnl.so.3")
else()
    set(OSPREY_PC_DNNL "-ldnnl")
endif()

set(OSPREY_PC_CUDA "")
if(OSPREY_CUDA_FOUND)
    install(FILES ${OSPREY_CUDART} DESTINATION ${CMAKE_INSTALL_LIBDIR}/osprey)
    if(EXISTS ${OSPREY_DEPS_DIR}/cuda/licenses)
        install(DIRECTORY ${OSPREY_DEPS_DIR}/cuda/licenses/
                DESTINATION ${CMAKE_INSTALL_DOCDIR}/cuda)
    endif()
    set(OSPREY_PC_CUDA "\${libdir}/osprey/libcudart_static.a -lrt")
endif()

# Both files find the prefix from where they lie, so that an installed tree can be moved.
file(RELATIVE_PATH OSPREY_PC_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig
     ${CMAKE_INSTALL_PREFIX})
configure_file(cmake/osprey.pc.in osprey.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/osprey.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Osprey)
install(EXPORT OspreyTargets NAMESPACE osprey:: DESTINATION ${package_dir})
configure_package_config_file(cmake/OspreyConfig.cmake.in OspreyConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(OspreyConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/OspreyConfig.cmake ${CMAKE_BINARY_DIR}/OspreyConfigVersion.cmake
        DESTINATION ${package_dir})
