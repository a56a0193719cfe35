//! One integration binary, a module per noun or promise.

mod api;
mod architecture;
mod crash;
mod decide;
mod drivers;
mod e2e;
mod races;
mod service;
mod store;
mod storm;
