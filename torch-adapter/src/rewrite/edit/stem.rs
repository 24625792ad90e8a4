//! Names of what is added to a module.

use crate::find::sites::{Op, OpWeight, Origin};

/// What the names of a weight's additions begin with: `weight`, `in_proj_weight`, `linear_weight`, ….
///
/// `home` is the path of the module that gets them.
pub(crate) fn weight(op: &Op, weight: &OpWeight, home: &str) -> String {
    let attribute = match &weight.origin {
        Some(Origin::Attribute(_, name)) => name.to_string(),
        // An element of a list goes by the attribute that is the same tensor.
        Some(Origin::Element(..) | Origin::Key(..)) => weight.name.rsplit('.').next().unwrap_or("weight").to_owned(),
        Some(Origin::Constant(_)) | None => "weight".to_owned(),
    };
    let local = local(op, home);
    let name = if local.is_empty() || local == attribute { attribute } else { format!("{local}_{attribute}") };
    identifier(&name)
}

/// What the names of an activation's additions begin with: `output`, `relu_output`, ….
///
/// `tensor` is its name in the plan, `….relu:output`.
pub(crate) fn activation(op: &Op, tensor: &str, home: &str) -> String {
    let local = local(op, home);
    let edge = tensor.rsplit(':').next().unwrap_or_default();
    identifier(&if local.is_empty() { edge.to_owned() } else { format!("{local}_{edge}") })
}

/// The op's name below its module.
fn local<'a>(op: &'a Op, home: &str) -> &'a str {
    if home.is_empty() {
        return &op.name;
    }
    match op.name.strip_prefix(home) {
        Some("") => "",
        Some(rest) => rest.strip_prefix('.').unwrap_or(&op.name),
        None => &op.name,
    }
}

/// `name` as a name that TorchScript can declare: parameters in lists are called `0`, `1`, ….
pub(crate) fn identifier(name: &str) -> String {
    let clean: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if clean.starts_with(|c: char| c.is_ascii_digit()) { format!("_{clean}") } else { clean }
}
