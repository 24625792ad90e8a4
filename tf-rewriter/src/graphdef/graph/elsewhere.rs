//! Elements of constants that do not stand in the graph's own bytes: they stay where they are, in a checkpoint's data file or the file of the
//! graph, until the graph is written. A weight that was folded is there too: as what it was, with a factor for each channel.
//!
//! A TensorProto that has such elements carries, in place of `tensor_content`, a field of ours with the number of the piece
//! ([`MARK`]). It is part of the graph in memory alone: whatever writes the graph puts the elements there.

use std::ops::Range;
use std::sync::Arc;

use quant_math::DType;
use quant_math::fold::Factors;
use rayon::prelude::*;

use crate::error::Error;
use crate::graphdef::bundle::Values;
use crate::graphdef::io::Mapped;
use crate::graphdef::tensor::{Elements, MARK, Source};
use crate::graphdef::wire::{put_tag, put_varint};

/// Bytes in a file, or in memory.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    /// In a file.
    File(Mapped, Range<usize>),
    /// In a checkpoint, or as it was given.
    Checkpoint(Values),
    /// In memory.
    Memory(Vec<u8>),
    /// Those of another piece, times the factors of their channels.
    Scaled(Arc<Piece>, DType, Factors),
}

impl Source for Piece {
    fn len(&self) -> usize {
        match self {
            Self::File(_, span) => span.len(),
            Self::Checkpoint(values) => values.len(),
            Self::Memory(bytes) => bytes.len(),
            Self::Scaled(piece, ..) => piece.len(),
        }
    }

    fn bytes(&self) -> Result<&[u8], Error> {
        match self {
            Self::File(file, span) => Ok(file.get(span.clone()).unwrap_or_default()),
            Self::Checkpoint(values) => values.bytes(),
            Self::Memory(bytes) => Ok(bytes),
            Self::Scaled(piece, ..) => piece.bytes(),
        }
    }
}

impl Piece {
    fn elements(&self) -> Elements<'_> {
        match self {
            Self::Scaled(piece, dtype, by) => Elements { source: piece.elements().source, by: Some((*dtype, by)) },
            _ => Elements { source: self, by: None },
        }
    }

    fn check(&self) -> Result<(), model_file::Changed> {
        match self {
            Self::File(file, _) => file.check(),
            Self::Checkpoint(values) => values.in_file().map_or(Ok(()), |(file, _)| file.check()),
            Self::Memory(_) => Ok(()),
            Self::Scaled(piece, ..) => piece.check(),
        }
    }

    /// The same elements times `by`.
    pub(crate) fn scaled(self: &Arc<Self>, dtype: DType, mut by: Factors) -> Self {
        match &**self {
            // Factors are multiplied before the elements are rounded.
            Self::Scaled(piece, dtype, before) if before.layout == by.layout => {
                by.factors.iter_mut().zip(&before.factors).for_each(|(factor, before)| *factor *= before);
                Self::Scaled(Arc::clone(piece), *dtype, by)
            }
            _ => Self::Scaled(Arc::clone(self), dtype, by),
        }
    }
}

/// The pieces of a graph, by their numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Elsewhere(Arc<Vec<Arc<Piece>>>);

impl Elsewhere {
    pub(crate) fn new(pieces: Vec<Arc<Piece>>) -> Self {
        Self(Arc::new(pieces))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, for a graph that has more.
    pub(crate) fn pieces(&self) -> &[Arc<Piece>] {
        &self.0
    }

    /// The elements of the piece with this number.
    pub(crate) fn get(&self, number: u64) -> Option<Elements<'_>> {
        usize::try_from(number).ok().and_then(|number| self.0.get(number)).map(|piece| piece.elements())
    }

    /// Whether all elements are what was stored, also those that nobody has asked for.
    ///
    /// # Errors
    /// The first one that is not.
    pub(crate) fn verify(&self) -> Result<(), Error> {
        self.0.par_iter().map(|piece| piece.bytes().map(drop)).find_map_first(Result::err).map_or(Ok(()), Err)
    }

    /// Whether all files were the same all the time.
    ///
    /// # Errors
    /// What happened to one of them.
    pub(crate) fn check(&self) -> Result<(), model_file::Changed> {
        self.0.iter().try_for_each(|piece| piece.check())
    }
}

/// The field that stands for the piece with this number.
pub(crate) fn mark(number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_tag(&mut bytes, MARK, 0);
    put_varint(&mut bytes, number as u64);
    bytes
}
