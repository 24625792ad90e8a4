//! What the op that makes an output says of its numbers.

use quant_math::divergence::Scores;
use tensorflow::Output;

/// What the numbers of an output are by the op that makes it, through what passes values on, and its type.
pub(super) fn said(output: &Output) -> Option<(Scores, String)> {
    let mut operation = output.operation.clone();
    loop {
        let kind = operation.op_type().ok()?;
        let scores = match kind.as_str() {
            "Identity" | "Cast" | "StopGradient" if operation.num_inputs() > 0 => {
                operation = operation.input(0).0;
                continue;
            }
            "Softmax" => Scores::Probabilities,
            // Its softmax is what it is the logarithm of.
            "LogSoftmax" => Scores::Logits,
            "Sigmoid" => Scores::Independent,
            _ => return None,
        };
        return Some((scores, kind));
    }
}
