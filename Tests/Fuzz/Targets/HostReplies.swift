import NIOCore
import SASL
import SMTP
import TLS

/// What another host says: replies alike in any pieces, without line ends in them.
let smtpReplyTarget = FuzzTarget("smtp-reply", maximum: 8192) { input in
    var whole = ByteBuffer(bytes: input)
    var pieces = ByteBuffer()
    var (first, second) = (ReplyParser(), ReplyParser())
    for octet in input {
        pieces.writeInteger(octet)
        do {
            while let reply = try first.next(&pieces) {
                demand((try? second.next(&whole)) == reply, "another reply as a whole")
                demand(!reply.lines.isEmpty, "a reply without a line")
                demand(reply.lines.allSatisfy { !$0.utf8.contains(10) }, "line ends in \(reply)")
            }
        } catch {
            return
        }
    }
}

/// The first three octets are the record's fields, the rest its data, which may be a certificate or a key.
let daneRecordTarget = FuzzTarget("dane-record", maximum: 4096) { input in
    guard input.count >= 3 else { return }
    let data = Array(input.dropFirst(3))
    let record = DANERecord(usage: input[0], selector: input[1], matching: input[2], data: data)
    if record.isUsable {
        demand((2...3).contains(record.usage) && record.selector <= 1, "a record of another usage counts")
        demand(record.matching > 0 || !data.isEmpty, "nothing counts as a certificate")
    }
}

/// The first octet chooses the mechanism; lines are the server's challenges.
let saslChallengeTarget = FuzzTarget("sasl-challenge", maximum: 2048) { input in
    guard let choice = input.first else { return }
    let names: [SASLMechanismName] = [.scramSHA256, .scramSHA1, .login, .plain]
    let evidence = SASLEvidence.password(PasswordCredentials(user: "user", password: "pencil"))
    guard
        var client = try? SASLClient(
            names[Int(choice) % names.count],
            evidence,
            nonce: Array("nonce".utf8),
            host: ("mx.test", 25)
        )
    else { return }
    for challenge in input.dropFirst().split(separator: 0x0a, maxSplits: 4, omittingEmptySubsequences: false) {
        // What takes long is another test's.
        if challenge.count > 400 { return }
        guard (try? client.respond(to: Array(challenge))) != nil else { return }
    }
    if names[Int(choice) % names.count] == .scramSHA256 { demand(!client.mayEnd, "a stranger knows the password") }
}
