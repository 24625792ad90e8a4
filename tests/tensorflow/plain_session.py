"""TensorFlow without what rewrites graphs before they run: every op as it stands."""

import tensorflow as tf
from tensorflow.core.protobuf import rewriter_config_pb2

v1 = tf.compat.v1


def config():
    made = v1.ConfigProto()
    options = made.graph_options
    options.rewrite_options.disable_meta_optimizer = True
    options.rewrite_options.constant_folding = rewriter_config_pb2.RewriterConfig.OFF
    options.optimizer_options.opt_level = v1.OptimizerOptions.L0
    return made


def session(graph=None):
    return v1.Session(graph=graph, config=config())


def plain_functions():
    """The same for tf.function."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    tf.config.optimizer.set_jit("")
