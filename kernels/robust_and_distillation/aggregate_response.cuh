// Losses of the means over bags and of the instances. A bag's sums are in fixed point, in units of 2^-62 of what is at
// least its largest term: of probabilities about the largest and the smallest logit, of values about the largest size.
#pragma once
#include "losskit_args/aggregate_response.h"
#include "../reductions/reduce.cuh"
#include "../skeletons/sort.cuh"

namespace lk {

using AggregateArgs = lk_aggregate_response_args;
using AggregateWord = unsigned long long;

constexpr u64 kSharedBags = 64;        // up to so many a block sums in shared memory first
constexpr u64 kAggregateBlocks = 512;  // at most

struct AggregateBag {
  AggregateWord high[2], low[2];  // sums of q, of 1 - q: times 2^32, times 1
  AggregateWord count;
  uint32_t top, bottom;           // order_key of the largest and the smallest prediction; NaN counts as both
};

// k (q inverse[0]) ((1 - q) inverse[1]), q and 1 - q about the bag's shifts, is the slope of the bag's loss.
struct AggregateSlope {
  double k, inverse[2];
};

LK_DEVICE u64 aggregate_region(u64 count, u64 each) { return (count * each + 255) / 256 * 256; }

struct AggregateRoom {
  AggregateBag* bags;
  AggregateSlope* slopes;
  SumPair *of_bags, *of_instances;  // [kAggregateBlocks]: loss and count of each block
  LK_DEVICE explicit AggregateRoom(const AggregateArgs& a) {
    unsigned char* p = static_cast<unsigned char*>(a.workspace);
    bags = reinterpret_cast<AggregateBag*>(p);
    p += aggregate_region(a.m, sizeof(AggregateBag));
    slopes = reinterpret_cast<AggregateSlope*>(p);
    p += aggregate_region(a.m, sizeof(AggregateSlope));
    of_bags = reinterpret_cast<SumPair*>(p);
    of_instances = of_bags + kAggregateBlocks;
  }
};

LK_DEVICE bool aggregate_logistic(const AggregateArgs& a) { return a.opts.kind == LK_AGGREGATE_RESPONSE_KIND_LOGISTIC; }
LK_DEVICE u64 aggregate_blocks(u64 n, u64 each) {
  const u64 blocks = (n + each - 1) / each;
  return blocks < 1 ? 1 : blocks < kAggregateBlocks ? blocks : kAggregateBlocks;
}

LK_DEVICE void aggregate_empty(AggregateBag& bag) { bag = {{0, 0}, {0, 0}, 0, 0, ~uint32_t(0)}; }
LK_DEVICE bool aggregate_finite(const AggregateBag& bag) {
  return order_value(bag.top) < infinity() && order_value(bag.bottom) > -infinity() && bag.top != 0xfffffffeu;
}

LK_DEVICE void aggregate_clear(const AggregateArgs& a) {
  const AggregateRoom room(a);
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 b = u64(blockIdx.x) * blockDim.x + threadIdx.x; b < a.m; b += step) aggregate_empty(room.bags[b]);
}

// Calls f(prediction, bag, sums) for the valid instances of this thread; sums of few bags go by way of shared memory.
template <class F, class Merge>
LK_DEVICE void aggregate_sweep(const AggregateArgs& a, F f, Merge merge) {
  __shared__ AggregateBag shared[kSharedBags];
  const AggregateRoom room(a);
  const bool few = a.m <= kSharedBags;
  if (few) {
    for (u64 b = threadIdx.x; b < a.m; b += blockDim.x) aggregate_empty(shared[b]);
    __syncthreads();
  }
  AggregateBag* sums = few ? shared : room.bags;
  const u64 step = u64(gridDim.x) * blockDim.x;
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < a.n; i += step) {
    const u64 b = static_cast<u64>(a.bags[i]);
    if (b < a.m) f(load1(a.pred, a.dtype, i), room.bags[b], sums[b]);
  }
  if (!few) return;
  __syncthreads();
  for (u64 b = threadIdx.x; b < a.m; b += blockDim.x) merge(shared[b], room.bags[b]);
}

LK_DEVICE void aggregate_ranges(const AggregateArgs& a) {
  aggregate_sweep(
      a,
      [](float x, const AggregateBag&, AggregateBag& to) {
        const uint32_t key = order_key(x);
        atomicMax(&to.top, key);
        atomicMin(&to.bottom, key);
        atomicAdd(&to.count, AggregateWord(1));
      },
      [](const AggregateBag& from, AggregateBag& to) {
        atomicMax(&to.top, from.top);
        atomicMin(&to.bottom, from.bottom);
        atomicAdd(&to.count, from.count);
      });
}

// What logits are raised by before exponentials of those below 0, and lowered by for those above.
struct AggregateShifts {
  double up, down;
  LK_DEVICE explicit AggregateShifts(const AggregateBag& bag) {
    const double top = order_value(bag.top), bottom = order_value(bag.bottom);
    up = top < 0.0 ? -top : 0.0;
    down = bottom > 0.0 ? bottom : 0.0;
  }
};

// sigmoid(x) exp(up) and sigmoid(-x) exp(down): at most 1, one of a bag at least 1/2.
struct AggregateOdds {
  double q, rest;
  LK_DEVICE AggregateOdds(double x, double up, double down) {
    const double size = 1.0 / (1.0 + exp(-fabs(x)));
    q = exp(fmin(x, 0.0) + up) * size;
    rest = exp(fmin(-x, 0.0) + down) * size;
  }
};

// Power of 2 that is above all sizes in a bag.
LK_DEVICE int aggregate_exponent(const AggregateBag& bag) {
  int exponent;
  frexp(fmax(fabs(static_cast<double>(order_value(bag.top))), fabs(static_cast<double>(order_value(bag.bottom)))), &exponent);
  return exponent;
}

LK_DEVICE void aggregate_add(AggregateBag& to, int side, double units) {
  const int64_t whole = static_cast<int64_t>(rint(units));
  atomicAdd(&to.high[side], static_cast<AggregateWord>(whole >> 32));
  atomicAdd(&to.low[side], static_cast<AggregateWord>(whole & 0xffffffff));
}
LK_DEVICE double aggregate_total(const AggregateBag& bag, int side) {
  return static_cast<double>(static_cast<int64_t>(bag.high[side])) * 4294967296.0 + static_cast<double>(bag.low[side]);
}

LK_DEVICE void aggregate_sums(const AggregateArgs& a) {
  const bool logistic = aggregate_logistic(a);
  aggregate_sweep(
      a,
      [&](float x, const AggregateBag& bag, AggregateBag& to) {
        if (!aggregate_finite(bag)) return;
        if (!logistic) {
          aggregate_add(to, 0, ldexp(static_cast<double>(x), 62 - aggregate_exponent(bag)));
          return;
        }
        const AggregateShifts shifts(bag);
        const AggregateOdds odds(x, shifts.up, shifts.down);
        aggregate_add(to, 0, odds.q * 0x1p62);
        aggregate_add(to, 1, odds.rest * 0x1p62);
      },
      [](const AggregateBag& from, AggregateBag& to) {
        for (int side = 0; side < 2; ++side) {
          atomicAdd(&to.high[side], from.high[side]);
          atomicAdd(&to.low[side], from.low[side]);
        }
      });
}

// log of m exp(-shift), `rest` being 1 less that.
LK_DEVICE double aggregate_log(double m, double shift, double rest) { return rest < 0.5 ? log1p(-rest) : log(m) - shift; }

// Loss of a bag that is not empty; writes its slope.
LK_DEVICE double aggregate_bag(const AggregateArgs& a, const AggregateBag& bag, double y, AggregateSlope& slope) {
  const double c = static_cast<double>(bag.count);
  const double spoilt = aggregate_finite(bag) ? 0.0 : quiet_nan();
  if (!aggregate_logistic(a)) {
    const double d = ldexp(aggregate_total(bag, 0) / c, aggregate_exponent(bag) - 62) - y + spoilt;
    slope.k = 2.0 * d / c;
    return d * d;
  }
  const AggregateShifts shifts(bag);
  const double q = aggregate_total(bag, 0) * 0x1p-62 / c + spoilt, rest = aggregate_total(bag, 1) * 0x1p-62 / c + spoilt;
  const double mean = q * exp(-shifts.up), others = rest * exp(-shifts.down);
  slope.k = ((1.0 - y) * mean - y * others) / c;
  slope.inverse[0] = 1.0 / q;
  slope.inverse[1] = 1.0 / rest;
  // 0 log 0 is 0.
  const double with = y == 0.0 ? 0.0 : -y * aggregate_log(q, shifts.up, others);
  const double against = y == 1.0 ? 0.0 : (y - 1.0) * aggregate_log(rest, shifts.down, mean);
  return with + against;
}

LK_DEVICE SumPair aggregate_merge(const SumPair& x, const SumPair& y) {
  return {x.values + y.values, x.weights + y.weights};
}

LK_DEVICE void aggregate_bags(const AggregateArgs& a) {
  __shared__ SumPair scratch[32];
  const AggregateRoom room(a);
  const u64 step = u64(gridDim.x) * blockDim.x;
  SumPair sum = {0.0, 0.0};
  for (u64 b = u64(blockIdx.x) * blockDim.x + threadIdx.x; b < a.m; b += step) {
    if (room.bags[b].count == 0) continue;
    sum.values += aggregate_bag(a, room.bags[b], load1(a.bag_targets, a.dtype, b), room.slopes[b]);
    sum.weights += 1.0;
  }
  sum = reduce_group(sum, SumPair{0.0, 0.0}, scratch, aggregate_merge);
  if (threadIdx.x == 0) room.of_bags[blockIdx.x] = sum;
}

// What the blocks left, the same in all threads.
LK_DEVICE SumPair aggregate_all(const SumPair* sums, u64 blocks) {
  __shared__ SumPair scratch[32];
  SumPair sum = {0.0, 0.0};
  for (u64 i = threadIdx.x; i < blocks; i += blockDim.x) sum = aggregate_merge(sum, sums[i]);
  sum = reduce_group(sum, SumPair{0.0, 0.0}, scratch, aggregate_merge);
  __syncthreads();
  return sum;
}

LK_DEVICE void aggregate_instances(const AggregateArgs& a) {
  __shared__ SumPair scratch[32];
  const AggregateRoom room(a);
  const bool logistic = aggregate_logistic(a), forward = a.pass != kPassBackward;
  void* gradient = a.pass != kPassForward ? a.grad_pred : nullptr;
  const double bags = aggregate_all(room.of_bags, aggregate_blocks(a.m, 256)).weights;
  const double g = a.grad_loss ? *a.grad_loss : 1.0, weight = a.opts.instance_weight;
  const double of_bag = g * (1.0 - weight) / (bags > 0.0 ? bags : 1.0), of_instance = g * weight / static_cast<double>(a.n);
  const u64 step = u64(gridDim.x) * blockDim.x;
  double sum = 0.0;
  for (u64 i = u64(blockIdx.x) * blockDim.x + threadIdx.x; i < a.n; i += step) {
    const u64 b = static_cast<u64>(a.bags[i]);
    if (b >= a.m) {
      atomicOr(a.device_flags, kFlagLabel);
      sum = quiet_nan();
      if (gradient) store1(gradient, a.dtype, i, 0.0f);
      continue;
    }
    const double x = load1(a.pred, a.dtype, i), y = load1(a.bag_targets, a.dtype, b);
    const AggregateSlope& slope = room.slopes[b];
    double slope_here;
    if (!logistic) {
      sum += (x - y) * (x - y);
      slope_here = of_bag * slope.k + of_instance * 2.0 * (x - y);
    } else {
      if (forward) sum += fabs(x) * (x < 0.0 ? y : 1.0 - y) + log1p(exp(-fabs(x)));
      if (!gradient) continue;
      const AggregateShifts shifts(room.bags[b]);
      const AggregateOdds odds(x, 0.0, 0.0), about(x, shifts.up, shifts.down);
      slope_here = of_bag * (slope.k * (about.q * slope.inverse[0]) * (about.rest * slope.inverse[1])) +
                   of_instance * ((1.0 - y) * odds.q - y * odds.rest);
    }
    if (gradient) store1(gradient, a.dtype, i, static_cast<float>(slope_here));
  }
  if (!forward) return;
  const SumPair all = reduce_group(SumPair{sum, 0.0}, SumPair{0.0, 0.0}, scratch, aggregate_merge);
  if (threadIdx.x == 0) room.of_instances[blockIdx.x] = all;
}

LK_DEVICE void aggregate_value(const AggregateArgs& a) {
  const AggregateRoom room(a);
  const SumPair none = {0.0, 0.0};
  const SumPair bags = a.n ? aggregate_all(room.of_bags, aggregate_blocks(a.m, 256)) : none;
  const SumPair instances = a.n ? aggregate_all(room.of_instances, aggregate_blocks(a.n, 1024)) : none;
  if (threadIdx.x != 0) return;
  const double bag = divide_or_zero(bags.values, bags.weights), instance = a.n ? instances.values / static_cast<double>(a.n) : 0.0;
  const double weight = a.opts.instance_weight;
  if (a.loss) *a.loss = static_cast<float>((1.0 - weight) * bag + weight * instance);
  if (a.bag_loss) *a.bag_loss = static_cast<float>(bag);
  if (a.instance_loss) *a.instance_loss = static_cast<float>(instance);
}

}  // namespace lk
