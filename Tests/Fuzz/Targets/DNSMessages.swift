import DNS

/// A DNS message: what can be decoded can be encoded and decoded again to the same.
let dnsMessageTarget = FuzzTarget("dns-message") { input in
    guard let message = try? DNSMessage(decoding: Array(input)) else { return }
    for record in message.answers { _ = "\(record)" }
    let octets = message.encode()
    guard let again = try? DNSMessage(decoding: octets) else { fatalError("what was written can't be read") }
    demand(again.flags.isTruncated || again.answers == message.answers, "the answers are others after a round trip")
}
