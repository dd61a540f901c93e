/// Whose mail of our own a message is. What comes from strangers has none.
package enum Submitter: String, Hashable, Sendable {
    /// Somebody who logged in.
    case account
    /// A program on this machine.
    case program
    /// We ourselves: the queue's reports.
    case system
}
