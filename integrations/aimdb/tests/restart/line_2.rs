//! AimDB 2.x.

#[path = "cases.rs"]
mod cases;
#[path = "../it/line_2/line.rs"]
mod line;
