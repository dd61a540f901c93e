import Mailbox

/// A message as those who wrote it know it, and in how many places it must be and may be, given the answers so far.
///
/// One thread at a time.
class SimulatedMessage: @unchecked Sendable {
    // Unchecked: the simulation has one thread.

    let mailbox: MailboxLocation
    /// In its field Delivered-To, by which it's recognised.
    let key: String
    /// The content of its file in a Maildir.
    let maildirOctets: [UInt8]
    /// Its content in an mbox, as readers get it: without the header field of a delivery.
    let mboxOctets: [UInt8]
    /// In so many places it must be.
    var minimum = 0
    /// In no more places than this it may be.
    var maximum = 0
    /// The UIDs that clients have seen it with, by mailbox and UIDVALIDITY, where it's the only one of its key there.
    var uids: [String: UInt32] = [:]

    init(_ mailbox: MailboxLocation, key: String, maildirOctets: [UInt8], mboxOctets: [UInt8]) {
        self.mailbox = mailbox
        self.key = key
        self.maildirOctets = maildirOctets
        self.mboxOctets = mboxOctets
    }

    /// The fields that all messages begin with.
    static func start(_ key: String) -> String { "Return-Path: <s@example.test>\nDelivered-To: \(key)@example.test\n" }

    /// The key in the first octets of a message; nil where there is none, and `-` where it's a part of a delivery that an mbox
    /// was left with, which is not taken for a message.
    static func key(in octets: some Sequence<UInt8>) -> String? {
        let text = String(decoding: octets.prefix(300).filter { $0 != UInt8(ascii: "\r") }, as: UTF8.self)
        var lines = text.split(separator: "\n", maxSplits: 4, omittingEmptySubsequences: false)[...]
        if let first = lines.first, first.hasPrefix("X-Delivery-Id: ") {
            // Perhaps only a part of the key was overwritten before the power went.
            if first.dropFirst(15).contains("-") { return "-" }
            lines = lines.dropFirst()
        }
        guard let field = lines.dropFirst().first, field.hasPrefix("Delivered-To: ") else { return nil }
        return String(field.dropFirst(14).prefix { $0 != "@" })
    }

    /// In how many places it may be found.
    var allowed: ClosedRange<Int> { minimum...max(minimum, maximum) }

    /// What was found is durable: what was uncertain isn't any more.
    func settle(_ found: Int) {
        minimum = found
        maximum = found
    }
}
