import Bus
import Logging
import SMTP

extension AuthorityService {
    /// SENDER: whether an account may send from an address.
    func sender(_ frame: Frame, _ directory: AccountDirectory) -> Frame {
        guard let user = frame["user"], let text = frame["sender"],
            let address = try? MailAddress(parsing: text.utf8, options: .envelope)
        else { return Self.rejection(frame, .invalidArguments, "user and sender are needed") }
        guard let account = directory.account(user: user) else {
            // A user of somebody else's, whom a proxy has vouched for.
            let isOwn =
                (try? MailAddress(parsing: user.utf8, options: .envelope)).map(AddressKey.init) == AddressKey(address)
            return .ok(tag: frame["tag"], [.init("allowed", isOwn ? "yes" : "no")])
        }
        // What the table would say isn't known as long as it could never be read.
        guard let senders = files.senders else {
            return Self.deferral(frame, .systemTrouble, "who may send as whom cannot be read now")
        }
        let isNamed = senders[account.address].contains { $0.allows(address) }
        guard let isAllowed = isNamed ? true : directory.leads(address, to: account) else {
            return Self.deferral(frame, .systemTrouble, "the list cannot be read now")
        }
        return .ok(tag: frame["tag"], [.init("allowed", isAllowed ? "yes" : "no")])
    }

    /// SEND: counts a message that an account is about to send, or takes that back.
    func send(_ frame: Frame, _ directory: AccountDirectory) -> Frame {
        guard let user = frame["user"], let recipients = frame.integer("recipients"),
            (0...1_000_000).contains(recipients)
        else { return Self.rejection(frame, .invalidArguments, "user and recipients are needed") }
        guard let account = directory.account(user: user) else {
            // A user of somebody else's has no limits here; one of ours was removed since the login.
            let address = try? MailAddress(parsing: user.utf8, options: .envelope)
            guard let address, !directory.domains.contains(address.lowercasedDomain) else {
                return Self.rejection(frame, .mailboxDisabled, "there is no such account any more")
            }
            return .ok(tag: frame["tag"], [])
        }
        if frame["taken-back"] == "yes" {
            state.takeBack(account.address, recipients: recipients)
            return .ok(tag: frame["tag"], [])
        }
        // A session may outlive what an administrator does about a stolen password.
        guard !account.isLocked else {
            return Self.rejection(frame, .mailboxDisabled, "the account is disabled")
        }
        let limits = settings.sendingLimits(account.address)
        guard let refusal = state.send(account.address, recipients: recipients, limits: limits, now: settings.clock())
        else { return .ok(tag: frame["tag"], []) }
        logger.notice(
            "sending limit reached",
            metadata: ["user": "\(account.address)", "recipients": "\(recipients)", "reason": "\(refusal.text)"]
        )
        switch refusal {
        case .later: return Self.deferral(frame, .limitReached, refusal.text)
        case .never: return Self.rejection(frame, .tooManyRecipientsEver, refusal.text)
        }
    }

    /// USAGE: what an account has sent, and what it may; with `lift` the count begins anew.
    func usage(_ frame: Frame, _ directory: AccountDirectory) -> Frame {
        guard let account = frame["user"].flatMap({ directory.account(user: $0) }) else {
            return Self.rejection(frame, .noSuchMailbox, "no such account")
        }
        if frame["lift"] == "yes" {
            state.liftSendingLimit(of: account.address)
            logger.notice("sending limit lifted", metadata: ["user": "\(account.address)"])
        }
        let usage = SendingUsage(
            hour: state.sent(by: account.address, within: .hour, now: settings.clock()),
            day: state.sent(by: account.address, within: .day, now: settings.clock()),
            limits: settings.sendingLimits(account.address)
        )
        return .ok(tag: frame["tag"], usage.fields)
    }
}

/// What an account has sent, and what it may.
package struct SendingUsage: Equatable, Sendable {
    package var hour: SendingAmount
    package var day: SendingAmount
    package var limits: SendingLimits

    fileprivate init(hour: SendingAmount, day: SendingAmount, limits: SendingLimits) {
        self.hour = hour
        self.day = day
        self.limits = limits
    }

    /// From the answer to USAGE; nil where that isn't one.
    package init?(_ frame: Frame) {
        guard frame.replyKind == .ok, let hour = Self.amount(frame, "hour"), let day = Self.amount(frame, "day"),
            let hourLimit = Self.amount(frame, "hour-limit"), let dayLimit = Self.amount(frame, "day-limit")
        else { return nil }
        self.init(hour: hour, day: day, limits: SendingLimits(hour: hourLimit, day: dayLimit))
    }

    private static func amount(_ frame: Frame, _ name: String) -> SendingAmount? {
        guard let numbers = frame[name]?.split(separator: " ").map({ Int($0) }), numbers.count == 2,
            let messages = numbers[0], let recipients = numbers[1]
        else { return nil }
        return SendingAmount(messages: messages, recipients: recipients)
    }

    fileprivate var fields: [Frame.Field] {
        [("hour", hour), ("day", day), ("hour-limit", limits.hour), ("day-limit", limits.day)].map { name, amount in
            .init(name, "\(amount.messages) \(amount.recipients)")
        }
    }

    /// The question that is answered so.
    ///
    /// - Parameter lifting: whether the count is to begin anew.
    package static func question(_ address: MailAddress, lifting: Bool = false) -> Frame {
        Frame("USAGE", [.init("user", address.description)] + (lifting ? [.init("lift", "yes")] : []))
    }
}
