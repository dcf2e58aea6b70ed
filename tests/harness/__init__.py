"""What the tests of all entries share.

An entry is tested by one file, `tests/entries/<name>.py`, which says what the entry must compute; the rest is
derived from the registry. The file has

    reference(x, o)      dict of the outputs for reduction none, from inputs `x` (attributes; float64 or
                         longdouble; absent ones None) and options `o` (attributes), in plain numpy

and may have

    count(x, o)          what reduction mean divides by; the number of losses unless given
    weight(x, o)         what reduction mean multiplies each loss by before it adds them up; 1 unless given
    gradient(x, o, s)    closed form of the gradients, for `s` = d objective / d (first output, unreduced);
                         itself checked against differences of `reference`. Without it gradients come from
                         differences, of some elements only
    surrogate(x, o, at)  where gradients are those of an estimator: what they are the gradients of at x = at,
                         per loss, with what counts as constant taken from `at`
    scale(x, o)          dict of the magnitudes that errors of outputs are measured against, of the shape of
                         the unreduced output; the size of the output unless given
    gradient_scale(x, o, s)   the same for gradients; the largest gradient of the row unless given
    OPTIONS              values to try, by option; every option of the entry but reductions
    SAMPLERS             by input: sampler(rng, shape, distribution, sizes), where the usual ones will not do;
                         `sizes` has dims and options by name
    SHAPES               dicts of dims, where the usual ones will not do
    possible(dims, o)    whether options make sense for a shape
    SURROGATE            True where backward is by intention not the slope of forward
    AMPLIFIED            how much larger than the outputs the terms are whose difference they are, by default options
    SAMPLES_DEPEND       True where a sample's loss depends on others
    ALTERNATIVES         names of optional inputs of which a call has exactly one
    EXAMPLES             worked examples: dicts of inputs, options, outputs, gradients
    test_...(call)       further tests; `call` is a `Caller` of the entry on some device
"""

from .caller import Caller
from .subject import Subject, subjects

__all__ = ["Caller", "Subject", "subjects"]
