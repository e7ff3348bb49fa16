//! The **log**.

mod limited;

pub use limited::Limited;
