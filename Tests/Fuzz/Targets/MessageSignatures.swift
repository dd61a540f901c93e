import DNS
import MIME
import MailAuth

/// The keys of RFC 8463 appendix A.2, which the inputs to begin with are signed with.
private let publishedKeys: ZoneLookup = {
    let zone = """
        $TTL 300
        brisbane._domainkey.football.example.com. IN TXT (
          "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=" )
        test._domainkey.football.example.com. IN TXT (
          "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQi"
          "Y/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G"
          "+2kryOTIKT+l/K4w3QIDAQAB" )

        """
    guard let lookup = try? ZoneLookup(masterFile: Array(zone.utf8)) else { fatalError("the zone is not read") }
    return lookup
}()

private func hashed(_ octets: UnsafeRawBufferPointer, pieces: Int) -> HashedMessage {
    let hasher = MessageHasher()
    var start = 0
    while start < octets.count {
        let end = min(octets.count, start + pieces)
        hasher.feed(UnsafeRawBufferPointer(rebasing: octets[start..<end]))
        start = end
    }
    return hasher.finish()
}

/// A message whose DKIM signatures are verified; pieces of any size give the same.
let dkimMessageTarget = FuzzTarget("dkim-message") { input in
    let message = hashed(input, pieces: max(1, input.count))
    let pieces = Int(input.first ?? 0) % 7 + 1
    let again = hashed(input, pieces: pieces)
    demand(message.header.octets == again.header.octets, "pieces of \(pieces) octets make another header")
    demand(message.bodyHashes == again.bodyHashes, "pieces of \(pieces) octets make another hash")
    let fields = message.header.all(Array("dkim-signature".utf8)).count
    waiting {
        let outcomes = await DKIMVerifier.verify(message, lookup: publishedKeys, now: 1_600_000_000)
        // One for each up to the limit and one for the rest, or one for a header in which nothing is verified.
        let isRefused = fields > 0 && outcomes.count == 1 && outcomes[0].result == .permerror
        demand(
            outcomes.count == min(fields, SignatureLimits().signatures + 1) || isRefused,
            "\(fields) signatures have \(outcomes.count) outcomes"
        )
        for outcome in outcomes { _ = AuthenticationResults.Entry(outcome) }
    }
}

/// The record of a key, for each algorithm.
let dkimKeyTarget = FuzzTarget("dkim-key", maximum: 2048) { input in
    guard let record = try? DKIMKeyRecord(Array(input)) else { return }
    for algorithm in [SignatureAlgorithm.rsaSHA256, .ed25519SHA256, .rsaSHA1] {
        _ = try? record.publicKey(for: algorithm, limits: SignatureLimits())
    }
}

/// The list of a domain's keys; what is written of it reads back.
let dkimSelectorsTarget = FuzzTarget("dkim-selectors", maximum: 2048) { input in
    guard let list = try? SelectorList(parsing: Array(input)) else { return }
    demand((try? SelectorList(parsing: list.octets)) == list, "\(list) does not read back")
}

/// A message whose ARC chain is validated.
let arcMessageTarget = FuzzTarget("arc-message", maximum: 16_384) { input in
    let message = hashed(input, pieces: 4096)
    waiting {
        let outcome = await ARCValidator.validate(message, lookup: publishedKeys, now: 1_600_000_000)
        demand(outcome.chain.sets.count <= ARCChain.maximumSets, "\(outcome.chain.sets.count) sets")
        demand((outcome.result == .pass) == (outcome.oldestPass != nil) || outcome.result == .fail, "no oldest pass")
        _ = AuthenticationResults.Entry(outcome)
    }
}

/// The value of an Authentication-Results field; what is written of it is one field and reads back.
let authenticationResultsTarget = FuzzTarget("authentication-results", maximum: 2048) { input in
    let octets = Array(input)
    _ = ARCAuthenticationResults.payload(octets[...])
    guard let results = try? AuthenticationResults(field: octets[...]) else { return }
    let header = HeaderBlock(results.field)
    demand(header.fields.count == 1, "\(header.fields.count) fields")
    let value = header.octets[header.fields[0].value]
    guard let again = try? AuthenticationResults(field: value) else {
        demand(false, "what is written can't be read")
        return
    }
    demand(
        again.entries.count == results.entries.count,
        "\(results.entries.count) entries become \(again.entries.count)"
    )
    let places = AuthenticationResults.forged(in: header, authservID: again.authservID)
    demand(places == [0] && AuthenticationResults.removing(places, from: header).isEmpty, "a forged field stays")
}
