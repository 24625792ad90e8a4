//! What `evaluate` says of an output, held against NumPy's numbers.

use serde_json::Value;

/// The numbers of an output of `elements` elements are those that a script computed with NumPy.
#[track_caller]
pub(crate) fn as_numpy_says(output: &Value, numpy: &Value, elements: f64) {
    let number = |from: &Value, name: &str| from.get(name).and_then(Value::as_f64).unwrap();
    let ours = |group: &str, name: &str| number(output.get(group).unwrap(), name);
    // Sums of n terms in another order: relative error of at most n·ε each. A decibel is 10/ln 10 of a relative error; each of the
    // three sums of the cosine, by Cauchy and Schwarz, moves it by n·ε at most (its square root halves).
    let sums = elements * f64::EPSILON;
    let near = |name: &str, bound: f64| {
        let (mine, theirs) = (ours("error", name), number(numpy, name));
        assert!((mine - theirs).abs() <= bound, "{name}: {mine}, NumPy {theirs}");
    };
    near("sqnr_db", 10.0 / std::f64::consts::LN_10 * 2.0 * sums + 100.0 * f64::EPSILON);
    near("cosine", 3.0 * sums);
    near("max_error", 0.0);
    for (group, name) in
        [("agreement", "top_1"), ("agreement", "top_k"), ("accuracy", "model"), ("accuracy", "reference")]
    {
        // Quotients of the same whole numbers.
        assert_eq!(ours(group, name).to_bits(), number(numpy, name).to_bits(), "{name}");
    }
}
