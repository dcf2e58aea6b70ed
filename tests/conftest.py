import os
import sys

# References are small matrices: threads of numpy's BLAS in every worker only wait for one another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "bindings", "python")]
