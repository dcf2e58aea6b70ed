/* A C program that knows losskit from its installed header alone. */
#include <losskit.h>

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

#define CHECK(condition)                                             \
  do {                                                               \
    if (!(condition)) {                                              \
      failures++;                                                    \
      printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
    }                                                                \
  } while (0)

static void check_near(int line, double got, double expected) {
  if (!(fabs(got - expected) <= 2e-6 * (1 + fabs(expected)))) {
    failures++;
    printf("%s:%d: got %.9g, expected %.9g\n", __FILE__, line, got, expected);
  }
}
#define CHECK_NEAR(got, expected) check_near(__LINE__, got, expected)

static void check_refused(int line, lk_status got, lk_status expected, const char *words) {
  const char *message = lk_last_error_message();
  if (got != expected || strstr(message, words) == NULL) {
    failures++;
    printf("%s:%d: got status %d (%s), '%s'; expected status %d (%s) and '%s'\n", __FILE__, line, got,
           lk_status_string(got), message, expected, lk_status_string(expected), words);
  }
}
#define CHECK_REFUSED(call, status, words) check_refused(__LINE__, call, status, words)

enum { ROWS = 3, CLASSES = 4 };
static const float LOGITS[ROWS * CLASSES] = {1, -2, 0.5f, 3, 0, 0.25f, -1, 2, -3, 4, 1, 0};
static const int64_t LABELS[ROWS] = {3, -100, 0};

static lk_status token(const lk_context *ctx, const lk_token_cross_entropy_options *opts, float *loss,
                       float *grad) {
  return lk_token_cross_entropy_forward_backward(ctx, opts, LK_DTYPE_F32, ROWS, CLASSES, 0, LOGITS, LABELS,
                                                 NULL, NULL, loss, grad, NULL, 0);
}

static void token_values(const lk_context *ctx) {
  double expected = 0, softmax[CLASSES];
  float loss = 0, grad[ROWS * CLASSES], forward = 0, backward[ROWS * CLASSES], saved[ROWS * 3];
  int r, k;
  CHECK(token(ctx, NULL, &loss, grad) == LK_STATUS_OK);
  for (r = 0; r < ROWS; r++) {
    double sum = 0;
    for (k = 0; k < CLASSES; k++) sum += exp(LOGITS[r * CLASSES + k]);
    for (k = 0; k < CLASSES; k++) {
      softmax[k] = exp(LOGITS[r * CLASSES + k]) / sum;
      CHECK_NEAR(grad[r * CLASSES + k], LABELS[r] < 0 ? 0 : (softmax[k] - (k == LABELS[r])) / 2);
    }
    if (LABELS[r] >= 0) expected -= log(softmax[LABELS[r]]) / 2;
  }
  CHECK_NEAR(loss, expected);

  CHECK(lk_token_cross_entropy_forward(ctx, NULL, LK_DTYPE_F32, ROWS, CLASSES, 0, LOGITS, LABELS, NULL,
                                       &forward, saved, NULL, 0) == LK_STATUS_OK);
  CHECK(lk_token_cross_entropy_backward(ctx, NULL, LK_DTYPE_F32, ROWS, CLASSES, 0, LOGITS, LABELS, NULL,
                                        saved, NULL, backward, NULL, 0) == LK_STATUS_OK);
  CHECK_NEAR(forward, loss);
  for (k = 0; k < ROWS * CLASSES; k++) CHECK_NEAR(backward[k], grad[k]);
}

static void other_values(const lk_context *ctx) {
  float pred[2] = {1.5f, -2}, target[2] = {1, 0}, loss[2], grad[2];
  const float upstream[2] = {1, 10};
  lk_mse_loss_options each;
  lk_mse_loss_options_init(&each);
  each.reduction = LK_REDUCTION_NONE;
  CHECK(lk_mse_loss_forward_backward(ctx, &each, LK_DTYPE_F32, 2, pred, target, upstream, loss, grad, NULL,
                                     NULL, 0) == LK_STATUS_OK);
  CHECK_NEAR(loss[0], 0.25);
  CHECK_NEAR(loss[1], 4);
  CHECK_NEAR(grad[0], 1);
  CHECK_NEAR(grad[1], -40);
  /* In place, mean. */
  CHECK(lk_bce_with_logits_forward_backward(ctx, NULL, LK_DTYPE_F32, 1, 2, pred, target, NULL, NULL, NULL,
                                            loss, pred, NULL, NULL, 0) == LK_STATUS_OK);
  CHECK_NEAR(loss[0], (log1p(exp(-1.5)) + log1p(exp(-2))) / 2);
  CHECK_NEAR(pred[0], (1 / (1 + exp(-1.5)) - 1) / 2);
  CHECK_NEAR(pred[1], 1 / (1 + exp(2)) / 2);
}

static void refusals(lk_context *ctx) {
  float loss = 7, grad[ROWS * CLASSES] = {7};
  const int64_t labels[ROWS] = {0, 1, 9};
  lk_token_cross_entropy_options opts;
  lk_token_cross_entropy_options_init(&opts);
  opts.label_smoothing = 1.5;
  CHECK_REFUSED(token(ctx, &opts, &loss, grad), LK_STATUS_INVALID_OPTION,
                "'label_smoothing' is 1.5, expected");
  opts.label_smoothing = NAN;
  CHECK_REFUSED(token(ctx, &opts, &loss, grad), LK_STATUS_INVALID_OPTION, "'label_smoothing' is NaN");
  CHECK_REFUSED(token(NULL, NULL, &loss, grad), LK_STATUS_INVALID_ARGUMENT, "'ctx' is NULL");
  CHECK_REFUSED(lk_token_cross_entropy_forward(ctx, NULL, LK_DTYPE_F32, ROWS, CLASSES, 0, LOGITS, labels,
                                               NULL, &loss, NULL, NULL, 0),
                LK_STATUS_INVALID_LABEL, "'labels' has value 9 in row 2, expected a value in [0, 4)");
  CHECK_REFUSED(lk_token_cross_entropy_forward(ctx, NULL, 5, ROWS, CLASSES, 0, LOGITS, LABELS, NULL, &loss,
                                               NULL, NULL, 0),
                LK_STATUS_INVALID_ARGUMENT, "'dtype' is 5");
  CHECK_REFUSED(lk_token_cross_entropy_forward(ctx, NULL, LK_DTYPE_F32, ROWS, CLASSES, 0, NULL, LABELS,
                                               NULL, &loss, NULL, NULL, 0),
                LK_STATUS_INVALID_ARGUMENT, "'logits' is NULL, expected f32 [3, 4]");
  CHECK_REFUSED(lk_token_cross_entropy_forward(ctx, NULL, LK_DTYPE_F32, ROWS, CLASSES, 3, LOGITS, LABELS,
                                               NULL, &loss, NULL, NULL, 0),
                LK_STATUS_INVALID_ARGUMENT, "'logits_stride' is 3, expected 0 or at least 4");
  CHECK_REFUSED(lk_token_cross_entropy_forward(ctx, NULL, LK_DTYPE_F32, SIZE_MAX / 2, CLASSES, 0, LOGITS,
                                               LABELS, NULL, &loss, NULL, NULL, 0),
                LK_STATUS_INVALID_ARGUMENT, "too large");
  CHECK(loss == 7 && grad[0] == 7);
  CHECK(lk_token_cross_entropy_forward(ctx, NULL, LK_DTYPE_F32, 0, CLASSES, 0, NULL, NULL, NULL, &loss,
                                       NULL, NULL, 0) == LK_STATUS_OK);
  CHECK(loss == 0);
}

/* The options struct of an older and of a newer header than the library's. */
static void options_growth(lk_context *ctx) {
  struct {
    lk_z_loss_options known;
    unsigned char more[16];
  } newer;
  lk_z_loss_options older;
  float now = 0, then = 0;
#define Z_LOSS(opts, loss) \
  lk_z_loss_forward(ctx, opts, LK_DTYPE_F32, ROWS, CLASSES, 0, LOGITS, LABELS, loss, NULL, NULL, 0)

  lk_z_loss_options_init(&older);
  older.a = 2;
  older.reduction = LK_REDUCTION_SUM;
  older.struct_size = offsetof(lk_z_loss_options, reduction);
  CHECK(Z_LOSS(&older, &then) == LK_STATUS_OK);
  older.struct_size = sizeof older;
  older.reduction = LK_REDUCTION_MEAN;
  CHECK(Z_LOSS(&older, &now) == LK_STATUS_OK);
  CHECK(then == now);

  memset(&newer, 0, sizeof newer);
  lk_z_loss_options_init(&newer.known);
  newer.known.a = 2;
  newer.known.struct_size = sizeof newer;
  CHECK(Z_LOSS(&newer.known, &then) == LK_STATUS_OK);
  CHECK(then == now);
  newer.more[3] = 1;
  CHECK_REFUSED(Z_LOSS(&newer.known, &then), LK_STATUS_INVALID_OPTION, "newer version");
  newer.known.struct_size = 0;
  CHECK_REFUSED(Z_LOSS(&newer.known, &then), LK_STATUS_INVALID_OPTION, "struct_size is 0");
}

static int threads_of_process(void) {
  char line[256];
  int threads = -1;
  FILE *file = fopen("/proc/self/status", "r");
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "Threads: %d", &threads) == 1) break;
  }
  if (file != NULL) fclose(file);
  return threads;
}

/* A large call: on the caller's thread alone with num_threads = 1, and with the same results on four. */
static void threads(void) {
  const size_t rows = 2000, classes = 500, n = rows * classes;
  float *logits = malloc(n * sizeof *logits), *grads[2], losses[2];
  int64_t *labels = malloc(rows * sizeof *labels);
  const uint32_t counts[2] = {1, 4};
  size_t i;
  int k;
  for (i = 0; i < n; i++) logits[i] = (float)(i * 2654435761u % 1000) / 100;
  for (i = 0; i < rows; i++) labels[i] = (int64_t)(i * 7 % classes);
  for (k = 0; k < 2; k++) {
    lk_context *ctx = NULL;
    lk_context_options opts;
    lk_context_options_init(&opts);
    opts.num_threads = counts[k];
    grads[k] = malloc(n * sizeof **grads);
    CHECK(lk_context_create(&ctx, &opts) == LK_STATUS_OK);
    CHECK(lk_z_loss_forward_backward(ctx, NULL, LK_DTYPE_F32, rows, classes, 0, logits, labels, NULL,
                                     &losses[k], grads[k], NULL, 0) == LK_STATUS_OK);
    if (counts[k] == 1) CHECK(threads_of_process() == 1);
    lk_context_destroy(ctx);
  }
  CHECK(losses[0] == losses[1]);
  CHECK(memcmp(grads[0], grads[1], n * sizeof **grads) == 0);
  free(logits);
  free(labels);
  free(grads[0]);
  free(grads[1]);
}

int main(void) {
  lk_context *ctx = NULL;
  threads();
  CHECK(strcmp(lk_version(), LK_VERSION_STRING) == 0);
  CHECK(lk_context_create(&ctx, NULL) == LK_STATUS_OK);
  token_values(ctx);
  other_values(ctx);
  refusals(ctx);
  options_growth(ctx);
  CHECK(lk_context_check(ctx) == LK_STATUS_OK);
  CHECK(strstr(lk_registry_json(), "\"token_cross_entropy\"") != NULL);
  lk_context_destroy(ctx);
  lk_context_destroy(NULL);
  return failures != 0;
}
