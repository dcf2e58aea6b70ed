/* Time of one call on an input so small that the call itself is what costs:
 *   cc -O2 benches/call_overhead.c $(pkg-config --cflags --libs losskit-static) -o build/call_overhead */
#define _POSIX_C_SOURCE 199309L
#include <losskit.h>

#include <stdio.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(void) {
  enum { CALLS = 200000, ROUNDS = 21 };
  const float logits[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  const int64_t label = 3;
  float loss = 0, grad[10];
  double best = 1e9, sum = 0;
  int i, round;
  lk_context *ctx = NULL;
  lk_context_options options;
  lk_token_cross_entropy_options opts;
  lk_context_options_init(&options);
  options.num_threads = 1;
  lk_token_cross_entropy_options_init(&opts);
  if (lk_context_create(&ctx, &options) != LK_STATUS_OK) {
    fprintf(stderr, "%s\n", lk_last_error_message());
    return 1;
  }
  for (round = 0; round < ROUNDS; round++) {
    const double start = now();
    double time;
    for (i = 0; i < CALLS; i++) {
      if (lk_token_cross_entropy_forward_backward(ctx, &opts, LK_DTYPE_F32, 1, 10, 0, logits, &label, NULL,
                                                  NULL, &loss, grad, NULL, 0) != LK_STATUS_OK) {
        fprintf(stderr, "%s\n", lk_last_error_message());
        return 1;
      }
    }
    time = (now() - start) / CALLS * 1e9;
    sum += time;
    if (time < best) best = time;
  }
  printf(
      "token_cross_entropy forward_backward, f32 1 x 10, one thread: %.0f ns per call (best of %d rounds, "
      "mean %.0f)\n",
      best, ROUNDS, sum / ROUNDS);
  lk_context_destroy(ctx);
  return 0;
}
