//! What happens when a model fails: circuit breakers, retry budgets, latency for hedged requests.

pub mod health;
pub mod health_registry;
pub mod latency;
pub mod retry_budget;
