//! Finding a range without looking through the file for every site.

use std::collections::BTreeMap;

use super::{Ranges, SiteRange};
use crate::plan::QuantType;
use crate::range::Range;
use crate::steps;

/// The ranges of a file by site and by tensor.
#[derive(Debug, Clone)]
pub struct RangeLookup<'a> {
    by_site: BTreeMap<(&'a str, QuantType, &'a str), &'a SiteRange>,
    by_tensor: BTreeMap<&'a str, &'a SiteRange>,
}

impl Ranges {
    /// These ranges, ready to be asked about many sites.
    pub fn lookup(&self) -> RangeLookup<'_> {
        let (mut by_site, mut by_tensor) = (BTreeMap::new(), BTreeMap::new());
        for entry in &self.ranges {
            steps::count(1);
            by_site.entry((entry.site.as_str(), entry.kind, entry.tensor.as_str())).or_insert(entry);
            by_tensor.entry(entry.tensor.as_str()).or_insert(entry);
        }
        RangeLookup { by_site, by_tensor }
    }

    /// The range of one tensor; [`lookup`](Self::lookup) is for many.
    pub fn find(&self, site: &str, kind: QuantType, tensor: &str) -> Option<Range> {
        self.lookup().find(site, kind, tensor)
    }
}

impl<'a> RangeLookup<'a> {
    /// What the file says of a tensor for a site's op and kind.
    pub fn entry(&self, site: &str, kind: QuantType, tensor: &str) -> Option<&'a SiteRange> {
        steps::count(1);
        self.by_site.get(&(site, kind, tensor)).copied()
    }

    /// The range of a tensor, by the site's op and kind, else by the tensor's name; of several, the first in the file.
    pub fn find(&self, site: &str, kind: QuantType, tensor: &str) -> Option<Range> {
        let found = self.entry(site, kind, tensor).or_else(|| self.by_tensor.get(tensor).copied())?;
        Some(Range { min: found.min, max: found.max })
    }
}

#[cfg(test)]
mod tests {
    use super::super::ModelId;
    use super::*;
    use crate::plan::Observer;

    fn ranges(count: usize) -> Ranges {
        let range = Range { min: 0.0, max: 1.0 };
        let of = |i: usize| SiteRange::new(format!("op{i}"), QuantType::Output, format!("op{i}:0"), range);
        Ranges {
            version: super::super::RANGES_VERSION,
            framework: "tensorflow 2.21.0".to_owned(),
            model: ModelId { file: "m.pb".to_owned(), fingerprint: "crc32c:00000000:0".to_owned() },
            config: None,
            observer: Observer::MinMax,
            samples: 1,
            batch: None,
            folded: Vec::new(),
            ranges: (0..count).map(of).collect(),
        }
    }

    #[test]
    fn of_several_the_first_is_taken_and_the_site_before_the_tensor() {
        let mut file = ranges(2);
        let other = Range { min: -1.0, max: 0.0 };
        file.ranges.push(SiteRange::new("op0", QuantType::Output, "op0:0", other));
        file.ranges.push(SiteRange::new("reader", QuantType::Input, "op1:0", other));
        let lookup = file.lookup();
        let first = Some(Range { min: 0.0, max: 1.0 });
        assert_eq!(lookup.find("op0", QuantType::Output, "op0:0"), first);
        assert_eq!(lookup.find("reader", QuantType::Input, "op1:0"), Some(other));
        assert_eq!(lookup.find("nobody", QuantType::Input, "op1:0"), first);
        assert_eq!(lookup.find("op1", QuantType::Output, "op9:0"), None);
    }

    #[test]
    fn finding_grows_with_the_file_and_the_sites() {
        let counts = [100, 200, 400].map(|n| {
            let file = ranges(n);
            steps::counted(|| {
                let lookup = file.lookup();
                for entry in &file.ranges {
                    assert!(lookup.find(&entry.site, entry.kind, &entry.tensor).is_some());
                }
            })
        });
        assert_eq!(counts, [200, 400, 800]);
    }
}
