//! Items of a list, found by their names without looking at each.

/// The order of a list by the names of its items; of several with one name the first one comes first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ByName(Vec<u32>);

impl ByName {
    /// The order of `items`.
    pub(crate) fn new<T>(items: &[T], name: impl Fn(&T) -> &str) -> Self {
        let mut order: Vec<u32> = (0..).take(items.len()).collect();
        let name = |position: u32| items.get(position as usize).map(&name);
        order.sort_by(|one, other| name(*one).cmp(&name(*other)));
        Self(order)
    }

    /// The position of the first item of that name in the list that was ordered.
    pub(crate) fn find<T>(&self, items: &[T], wanted: &str, name: impl Fn(&T) -> &str) -> Option<usize> {
        let name = |position: u32| items.get(position as usize).map(&name);
        let first = self.0.partition_point(|position| name(*position) < Some(wanted));
        let position = self.0.get(first).copied().filter(|position| name(*position) == Some(wanted))?;
        Some(position as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_name_is_found() {
        let items = ["b", "a", "c", "a"];
        let order = ByName::new(&items, |item| item);
        let find = |name| order.find(&items, name, |item| item);
        assert_eq!([find("a"), find("b"), find("c"), find(""), find("d")], [Some(1), Some(0), Some(2), None, None]);
    }
}
