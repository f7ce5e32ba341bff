//! That what is written down is what the programs write.

mod peers;
