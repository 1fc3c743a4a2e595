//! What happens when a model fails: attempts at one candidate after another, circuit breakers, retry budgets and hedging.

pub mod attempts;
pub mod breaker;
pub mod circuit;
pub mod health;
pub mod health_registry;
mod hedge;
pub mod keys;
mod latency;
pub mod retry_budget;
pub mod settings;
