//! AimDB 1.x.

#[path = "cases.rs"]
mod cases;
#[path = "../it/line_1/line.rs"]
mod line;
