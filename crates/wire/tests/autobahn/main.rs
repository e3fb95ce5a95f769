//! The cases of the Autobahn test suite, over a real socket against an echo server on our codec.
//!
//! Sections 1 to 7 and, at sizes within our limits, 9 are written down here with their numbers, so that the
//! usual test run needs no Python; [`suite`] runs the suite itself where it is installed. Compression (12, 13)
//! is not spoken. What the suite leaves open (7.1.6, 7.13) is pinned to what this codec does.

mod case;
mod closing;
mod control;
mod echo;
mod fragmentation;
mod framing;
mod limits;
mod refused;
mod suite;
mod utf8;
