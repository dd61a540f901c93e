import SMTP

/// What a milter has decided.
package struct MilterVerdict: Equatable, Sendable {
    package enum Action: Equatable, Sendable {
        case refuse(Reply)
        /// Say so and end the connection.
        case disconnect(Reply)
        /// Take the message and throw it away.
        case discard
    }

    package let action: Action
    /// The milter's name in the configuration.
    package let milter: String
    /// Why it couldn't be asked, where it's not its own decision.
    package let fault: MilterFault?

    init(_ action: Action, by milter: String, fault: MilterFault? = nil) {
        self.action = action
        self.milter = milter
        self.fault = fault
    }
}

extension Reply {
    static let rejectedByMilter = Reply(.mailboxUnavailable, .notAuthorized, "refused by a mail filter")
    static let deferredByMilter = Reply(.localError, .filterTrouble, "a mail filter asks to try again later")
    static let milterDeferred = Reply(.localError, .filterTrouble, "a mail filter is not available, try again later")
    static let milterRejected = Reply(.transactionFailed, .notAuthorized, "a mail filter is not available")
    static let milterShutdown = Reply(.serviceNotAvailable, .refusedForNow, "closed by a mail filter, try again later")
}

extension EnhancedStatusCode {
    /// 4.7.1: not allowed for now.
    static let filterTrouble = EnhancedStatusCode(4, 7, 1)
}
