#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![expect(
    clippy::inline_always,
    reason = "a formula must be inlined to be compiled for the widest SIMD of the machine"
)]

pub mod affine;
pub mod allocation;
pub mod budget;
pub mod codes;
mod columns;
pub mod config;
pub mod data;
pub mod difference;
pub mod divergence;
pub mod einsum;
mod error;
pub mod evaluation;
mod exp;
mod extremes;
pub mod fate;
pub mod fold;
pub mod frozen;
pub mod grid;
pub mod inspection;
pub mod kernels;
pub mod late;
mod layout;
mod ln;
pub mod metrics;
pub mod moments;
pub mod nni;
pub mod observers;
pub mod plan;
pub mod quantizers;
pub mod range;
pub mod ranges;
pub mod ranking;
pub mod reconstruct;
pub mod report;
pub mod sensitivity;
mod simd;
mod steps;
pub mod tanh;
pub mod weights;

pub use affine::Affine;
pub use budget::{Budget, OverBudget};
pub use data::{DType, WeightData};
pub use error::MathError;
pub use grid::Grid;
pub use plan::{Emit, Plan, QuantType, Quantizer, Rounding};
pub use range::Range;
pub use weights::{ChannelLayout, Dequant, WeightMap, observe};
