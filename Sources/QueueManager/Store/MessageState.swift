/// What an administrator wants done to a message. It's done once no delivery of the message goes on.
package enum MessageChange: Equatable, Sendable {
    /// Put aside until it's released.
    case hold
    /// Back to what is tried.
    case release
    /// Deleted, without a word to the sender.
    case remove
    /// Returned to the sender, with these words.
    case bounce(text: String)
    /// Tried as if it had just come.
    case requeue
    /// Works out anew where it goes, and tries that: because the local domains changed, or because the administrator has
    /// mended something, and then with the attempts that were made counted on.
    case reroute(isAsked: Bool)
    /// Treated as if its time were over: returned with the last words about each recipient.
    case expire

    /// Whether it can be made for some recipients of a message and not for others.
    var isByRecipient: Bool {
        switch self {
        case .remove, .bounce, .expire: true
        case .hold, .release, .requeue, .reroute: false
        }
    }
}

/// Where a message stands. Every way from one state to another is in `after(_:)`.
enum MessageState: Equatable {
    /// Its jobs are in the schedule.
    case waiting
    /// The administrator put it aside: nothing of it is in the schedule.
    case held
    /// So many of its deliveries go on, or their results are being worked on.
    case delivering(UInt32)
    /// A change is being made durable; nothing else begins meanwhile.
    indirect case changing(MessageChange, wasHeld: Bool)
    /// It has left the queue.
    case gone

    /// What happens to a message.
    enum Event: Equatable {
        case deliveryBegan
        case deliveryEnded
        case changeBegan(MessageChange)
        /// The change was made, or could not be: whether the message is held now.
        case changeEnded(isHeld: Bool)
        /// Its file is not where it should be, but in `hold/`, or in `queue/`.
        case found(isHeld: Bool)
        case left
    }

    /// The state after an event; nil where it can't happen in this state.
    func after(_ event: Event) -> MessageState? {
        switch (self, event) {
        case (.waiting, .deliveryBegan): .delivering(1)
        case (.delivering(let count), .deliveryBegan): .delivering(count + 1)
        case (.delivering(let count), .deliveryEnded): count > 1 ? .delivering(count - 1) : .waiting
        case (.waiting, .changeBegan(let change)): .changing(change, wasHeld: false)
        case (.held, .changeBegan(let change)): .changing(change, wasHeld: true)
        case (.changing, .changeEnded(let isHeld)): isHeld ? .held : .waiting
        case (.waiting, .found(let isHeld)), (.held, .found(let isHeld)): isHeld ? .held : .waiting
        case (.gone, .left): nil
        case (_, .left): .gone
        case (.waiting, _), (.held, _), (.delivering, _), (.changing, _), (.gone, _): nil
        }
    }

    /// Whether a change may begin.
    var isAtRest: Bool { self == .waiting || self == .held }

    /// Whether its file is in `hold/`, as far as is known.
    var isHeld: Bool {
        switch self {
        case .held, .changing(_, wasHeld: true): true
        case .waiting, .delivering, .changing, .gone: false
        }
    }
}
