//! The scenarios of the catalogue of races, on the whole service under virtual time.

mod attach;
mod crashes;
mod data_life;
mod detach;
mod external;
mod fences;
mod guests;
mod hosts;
mod image_life;
mod images;
mod lifecycle;
mod lists;
mod manage;
mod marks;
mod metadata;
mod moves;
mod moves_in_use;
mod old_actions;
mod recovery;
mod retype;
pub mod scenario;
mod seeds;
mod servers;
mod size;
mod snapshots;
mod swap;
