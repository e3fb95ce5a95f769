//! The log of one room, searched through: every order in which its holders, its clients and the store can take their steps.
//!
//! Not the worker's code but its rules are checked, within bounds: few holders, messages and seqs. A rule of recovery, append
//! or commit is changed here first. `right` shows that by the rules no promise is broken, `wrong` that each rule is needed:
//! without it the search finds a story in which one is. So it is known that the model can tell.
//!
//! | file | idea |
//! |---|---|
//! | `store` | rows that are there, in part, or on their way |
//! | `holder` | what a holder knows |
//! | `reading` | how the log is read, by readers and by a holder |
//! | `steps` | the rules of a holder |
//! | `told` | what the world was told |
//! | `model` | bounds, what can happen next, and the promises |
//! | `right`, `wrong` | the searches |
//!
//! There is no clock. A holder that is killed, paused or cut off takes no more steps, and anybody may claim at any time; what
//! a fenced holder has sent may land at any time after, on a quorum or on too few replicas, or never.

mod holder;
mod model;
mod reading;
mod right;
mod steps;
mod store;
mod told;
mod wrong;
