// What we use of OpenMP's interface, for clang: gcc 12's omp.h has attributes that clang 14 refuses.
#ifndef OSP_CLANG_OMP_H
#define OSP_CLANG_OMP_H

int omp_get_max_threads(void);
int omp_get_num_threads(void);
int omp_get_thread_num(void);
int omp_in_parallel(void);
void omp_set_num_threads(int count);
void omp_set_dynamic(int on);
int omp_get_dynamic(void);
double omp_get_wtime(void);

#endif
