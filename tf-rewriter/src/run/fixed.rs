//! Values of inputs that are the same in every run: `NAME=VALUE`.

use std::str::FromStr;

use serde_json::Value as Json;
use tensorflow::DataType;

use super::RunError;
use super::value::{self, Number, Value};

/// A value for an input, whose type decides how its numbers are stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Fixed {
    /// The input's name.
    pub name: String,
    shape: Vec<u64>,
    numbers: Vec<Number>,
}

impl FromStr for Fixed {
    type Err = String;

    /// `NAME=VALUE`, where the value is a number, `true`, `false`, or a list of such, as JSON.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, for example keep_prob=1")?;
        let name = name.trim().trim_end_matches(":0").to_owned();
        let value: Json = serde_json::from_str(value.trim()).map_err(|_| {
            format!("`{value}` is no number, `true`, `false`, or list of such: expected for example 0.5 or [1, 2, 3]")
        })?;
        let (mut shape, mut numbers) = (Vec::new(), Vec::new());
        flatten(&value, 0, &mut shape, &mut numbers)?;
        Ok(Self { name, shape, numbers })
    }
}

/// Append the numbers of a value, whose dimensions from `depth` on are those of `shape`, as far as it has them already.
fn flatten(value: &Json, depth: usize, shape: &mut Vec<u64>, numbers: &mut Vec<Number>) -> Result<(), String> {
    let number = match value {
        Json::Array(items) => {
            let length = items.len() as u64;
            match shape.get(depth) {
                None if numbers.is_empty() => shape.push(length),
                Some(known) if *known == length => {}
                _ => return Err("the lists of a value must be of one length".to_owned()),
            }
            return items.iter().try_for_each(|item| flatten(item, depth + 1, shape, numbers));
        }
        Json::Bool(flag) => Some(Number::Whole((*flag).into())),
        Json::Number(number) => {
            let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
            whole.map(Number::Whole).or_else(|| number.as_f64().map(Number::Real))
        }
        _ => None,
    };
    let number = number.ok_or_else(|| format!("{value} is no number, `true` or `false`"))?;
    if depth != shape.len() {
        return Err("a value is a number, or a list of such, not both".to_owned());
    }
    numbers.push(number);
    Ok(())
}

impl Fixed {
    /// The tensor, for an input of this type and, where they are known, these dimensions.
    ///
    /// # Errors
    /// [`RunError::Request`] where it does not fit.
    pub(super) fn tensor(&self, dtype: DataType, wanted: Option<&[Option<i64>]>) -> Result<Value, RunError> {
        let refuse = |message: String| RunError::Request {
            message: format!("`--feed {}`: {message}", self.name),
            help: "give a number, or a list as JSON: `--feed keep_prob=1`, `--feed thresholds=[0.6,0.7,0.7]`"
                .to_owned(),
        };
        let fits = |dims: &[Option<i64>]| {
            let same = |(dim, size): (&Option<i64>, &u64)| dim.is_none_or(|dim| u64::try_from(dim) == Ok(*size));
            dims.len() == self.shape.len() && dims.iter().zip(&self.shape).all(same)
        };
        if let Some(dims) = wanted.filter(|dims| !fits(dims)) {
            return Err(refuse(format!("it has shape {:?}, expected {}", self.shape, value::dims(Some(dims)))));
        }
        let made = Value::from_numbers(dtype, &self.shape, &mut self.numbers.iter().copied());
        let made = made.map_err(|(_, number)| refuse(format!("{number} is no value of {dtype}")))?;
        made.ok_or_else(|| refuse(format!("an input of {dtype} takes no number")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbers_and_lists() {
        let read = |text: &str| text.parse::<Fixed>().map(|fixed| (fixed.name, fixed.shape, fixed.numbers));
        let whole = |x| Number::Whole(x);
        assert_eq!(read("keep_prob=1"), Ok(("keep_prob".into(), vec![], vec![whole(1)])));
        assert_eq!(read("a/b:0 = true"), Ok(("a/b".into(), vec![], vec![whole(1)])));
        assert_eq!(read("t=[0.5, 2]"), Ok(("t".into(), vec![2], vec![Number::Real(0.5), whole(2)])));
        let two = vec![whole(1), whole(2), whole(3), whole(4)];
        assert_eq!(read("m=[[1,2],[3,4]]"), Ok(("m".into(), vec![2, 2], two)));
        for wrong in ["keep_prob", "x=", "x=y", "x=[1,[2]]", "x=[[1],2]", "x=[[1,2],[3]]", "x=null", "x=\"1\"", "x={}"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
