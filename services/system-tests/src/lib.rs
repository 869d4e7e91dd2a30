//! Tests of the whole: see `tests/`. And the simulator bound to our cores: [`simulation`].
//!
//! * `tidy`: the house in order: layers, the pure core, words that must not appear;
//! * `orders`: every fate of an order and every refusal, through real gRPC, Postgres and NATS;
//! * `crash`: the all-in-one process is killed in the middle of load, and every accepted order ends all the same;
//! * `simulation`: the production cores in a world where everything goes wrong that can, one seed after the other.

pub mod simulation;
