//! Where the error enters.

use super::Entrance;
use crate::metrics::Metrics;

/// How many entrances from nothing are named, and how many places at which the error that is there grows.
const NAMED: usize = 3;

/// The tensors at which error enters or grows most, by their names; each comes with the error of the worst tensor that it is computed from,
/// and its own.
///
/// Beside a tensor that is exact the error is new. Further on the same error may weigh more, because what it is compared with becomes
/// smaller: that is no entrance, however much it adds.
pub fn entrances<'a>(tensors: impl IntoIterator<Item = (&'a str, Option<Metrics>, Metrics)>) -> Vec<Entrance> {
    let (mut new, mut grown) = (Vec::new(), Vec::new());
    for (name, before, own) in tensors {
        let added = noise_to_signal(&own) - before.as_ref().map_or(0.0, noise_to_signal);
        if added > 0.0 {
            let sqnr_db_before = before.and_then(|error| error.sqnr_db);
            let to = if sqnr_db_before.is_none() { &mut new } else { &mut grown };
            to.push((added, Entrance { name: name.to_owned(), sqnr_db_before, sqnr_db: own.sqnr_db }));
        }
    }
    for list in [&mut new, &mut grown] {
        list.sort_by(|a: &(f64, Entrance), b| b.0.total_cmp(&a.0));
        list.truncate(NAMED);
    }
    new.into_iter().chain(grown).map(|(_, entrance)| entrance).collect()
}

/// Noise over signal; 0 where there is no error.
pub fn noise_to_signal(error: &Metrics) -> f64 {
    error.sqnr_db.map_or(0.0, |db| 10f64.powf(-db / 10.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_errors_come_before_those_that_grow() {
        let error = |sqnr_db: Option<f64>| Metrics { sqnr_db, max_error: 0.0, cosine: 1.0, mse: 0.0 };
        let exact = error(None);
        let tensors = [
            ("input", None, exact),
            ("small", Some(exact), error(Some(40.0))),
            ("large", None, error(Some(20.0))),
            ("worse", Some(error(Some(20.0))), error(Some(10.0))),
            ("better", Some(error(Some(10.0))), error(Some(30.0))),
        ];
        let found = entrances(tensors);
        let names: Vec<&str> = found.iter().map(|entrance| entrance.name.as_str()).collect();
        assert_eq!(names, ["large", "small", "worse"]);
        assert_eq!((found[1].sqnr_db_before, found[2].sqnr_db_before), (None, Some(20.0)));
    }
}
