import DNS
import Daemon
import LocalZones

private let masterFile = """
    $TTL 300
    @ SOA ns root 7 3600 900 604800 300
    @ NS ns
    ns A 192.0.2.1
    a A 192.0.2.2
    a TXT "x"
    b CNAME a
    d DNAME e
    c.a MX 10 a
    """

/// Messages with updates, each behind its length: every change has a new serial, can be journalled and replayed, and leaves
/// a zone that can be loaded. The same octets are read as a journal, too.
let dnsUpdateTarget = FuzzTarget("dns-update", maximum: 4096) { input in
    let octets = Array(input)
    _ = UpdateRehearsal.readJournal(octets)
    _ = UpdateRehearsal.readJournal(Array("martlet dns journal 1\n".utf8) + octets)
    guard let origin = try? DomainName("z"), let signer = try? DomainName("k"),
        let rule = try? UpdateRule("key k zone ANY"),
        var rehearsal = UpdateRehearsal(
            masterFile: Array(masterFile.utf8),
            origin: origin,
            rules: [rule],
            signer: signer
        )
    else { return }
    var rest = octets[...]
    while rest.count >= 2 {
        let length = Int(rest[rest.startIndex]) << 8 | Int(rest[rest.startIndex + 1])
        let message = Array(rest.dropFirst(2).prefix(length))
        rest = rest.dropFirst(2 + length)
        guard let decoded = try? DNSMessage(decoding: message) else { continue }
        let before = rehearsal.serial
        let (code, complaint) = rehearsal.update(decoded)
        demand(complaint == nil, complaint ?? "")
        demand(code == .noError || rehearsal.serial == before, "a refused update changed the zone")
        // What an update says is written as it was read.
        demand((try? DNSMessage(decoding: decoded.encode())) != nil, "an update can't be encoded")
    }
}
