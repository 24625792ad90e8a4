//! Memory order: which dimension runs fastest, and where the channels are.

use std::ops::Range;

use quant_math::plan::Reason;
use quant_math::weights::ChannelLayout;

use super::Tensor;
use crate::codes;

/// A tensor that fills a stretch of its storage without gaps, in some order of its dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dense {
    /// The elements of the storage.
    pub span: Range<u64>,
    /// The dimensions longer than 1, slowest first.
    pub order: Vec<usize>,
    /// Sizes of all dimensions, by dimension.
    sizes: Vec<u64>,
}

/// Why a tensor's memory cannot be treated as a list of its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Irregular {
    /// It has no elements.
    Empty,
    /// Several of its elements are one in memory (an expanded view).
    Overlapping,
    /// Memory between its elements belongs to something else.
    Gaps,
}

impl Irregular {
    /// The reason to skip a tensor like this.
    pub fn reason(self) -> Reason {
        match self {
            Self::Empty => Reason::new(codes::TENSOR_EMPTY, "the tensor has no elements"),
            Self::Overlapping => Reason::new(
                codes::TENSOR_EXPANDED,
                "the tensor is an expanded view: several of its elements are one in memory",
            ),
            Self::Gaps => {
                Reason::new(codes::TENSOR_GAPS, "the tensor is a view with gaps: its memory holds other data too")
            }
        }
    }
}

impl Tensor {
    /// The tensor's memory, if it is dense.
    ///
    /// # Errors
    /// Why it is none.
    pub fn dense(&self) -> Result<Dense, Irregular> {
        if self.sizes.contains(&0) {
            return Err(Irregular::Empty);
        }
        // Dimensions of size 1 have any stride and do not move anything.
        let mut order: Vec<usize> =
            self.sizes.iter().enumerate().filter(|(_, size)| **size > 1).map(|(dim, _)| dim).collect();
        let stride = |dim: &usize| self.strides.get(*dim).copied().unwrap_or(0);
        order.sort_by_key(|dim| std::cmp::Reverse(stride(dim)));
        let mut next = 1_u64;
        for dim in order.iter().rev() {
            match stride(dim).cmp(&next) {
                std::cmp::Ordering::Less => return Err(Irregular::Overlapping),
                std::cmp::Ordering::Greater => return Err(Irregular::Gaps),
                std::cmp::Ordering::Equal => {}
            }
            next = next.saturating_mul(self.sizes.get(*dim).copied().unwrap_or(1));
        }
        Ok(Dense { span: self.offset..self.offset.saturating_add(next), order, sizes: self.sizes.clone() })
    }
}

impl Dense {
    /// Number of elements.
    pub fn len(&self) -> u64 {
        self.span.end - self.span.start
    }

    /// Never true: an empty tensor is not dense.
    pub fn is_empty(&self) -> bool {
        self.span.is_empty()
    }

    /// The layout with one channel per index of dimension `axis`, in memory order; `None` where there is no such dimension or the
    /// tensor does not fit into memory.
    pub fn per_channel(&self, axis: usize) -> Option<ChannelLayout> {
        let size = |dim: &usize| self.sizes.get(*dim).and_then(|size| usize::try_from(*size).ok());
        let product = |dims: &[usize]| dims.iter().try_fold(1_usize, |n, dim| n.checked_mul(size(dim)?));
        let channels = size(&axis)?;
        match self.order.iter().position(|dim| *dim == axis) {
            Some(place) => {
                let (outer, inner) = (self.order.get(..place)?, self.order.get(place + 1..)?);
                Some(ChannelLayout { outer: product(outer)?, channels, inner: product(inner)? })
            }
            // A dimension of size 1: one channel.
            None => self.per_tensor(),
        }
    }

    /// The layout with one channel.
    pub fn per_tensor(&self) -> Option<ChannelLayout> {
        usize::try_from(self.len()).ok().map(ChannelLayout::per_tensor)
    }

    /// Whether memory order is the order of the dimensions.
    pub fn is_row_major(&self) -> bool {
        self.order.is_sorted()
    }
}
