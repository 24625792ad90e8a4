//! Bits for each weight of a model under a budget: which mix of them loses least, or takes least, made by adapters that can run a model.
//!
//! ```text
//! sensitivity ──▶ choices of each weight (bytes, loss alone) ──knapsack──▶ a mix ──▶ the model as a whole is measured ──bisect──▶ the best
//! ```

mod knapsack;
mod result;
mod search;

pub use knapsack::{Choice, Mix, least};
pub use result::{BITS_VERSION, ChosenBits, Goal, Kept, Mixable, MixedBits, Stopped, Trial, lowest_sqnr};
pub use search::{Found, Measured, smallest, sums};
