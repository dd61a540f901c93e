import DNS
import TSIG

private let key = (try? DomainName("k")).map { name in
    TSIGKey(name: name, algorithm: .hmacSHA256, secret: [UInt8](repeating: 7, count: 32))
}

private func isUnsigned(_ octets: [UInt8]) -> Bool {
    do {
        return try TSIGMessage.split(octets) == nil
    } catch {
        return false
    }
}

/// A message with or without a signature: what is taken apart can be put together again, nothing passes whose signature
/// wasn't made with the key, and what we sign passes.
let tsigTarget = FuzzTarget("tsig", maximum: 4096) { input in
    guard let key else { return }
    let octets = Array(input)
    if let split = try? TSIGMessage.split(octets) {
        demand(isUnsigned(split.unsigned), "a message with two signatures was taken apart")
    }
    let keys = [key.name: key]
    switch TSIGVerification.verify(octets, keys: keys, now: 1_700_000_000) {
    case .signed: demand(false, "a forged signature passed")
    case .refused(var signer):
        let answer = signer.sign(octets, now: 1_700_000_000)
        demand(answer.count >= octets.count, "an answer lost octets")
    case .unsigned, .malformed: break
    }
    var verifier = TSIGVerifier(key: key, requestCode: [1, 2, 3])
    if (try? verifier.verify(octets, now: 1_700_000_000)) != nil { demand(false, "a forged answer passed") }
    // What is a message without a signature can be signed, and then passes; with an octet changed it doesn't.
    guard isUnsigned(octets), (try? DNSMessage(decoding: octets)) != nil else { return }
    var signer = TSIGSigner(requestWith: key)
    var signed = signer.sign(octets, now: 1_700_000_000)
    guard signed.count <= DNSMessage.maximumOctets, octets[10] != 0xFF || octets[11] != 0xFF else { return }
    guard case .signed = TSIGVerification.verify(signed, keys: keys, now: 1_700_000_000) else {
        demand(false, "our own signature didn't pass")
        return
    }
    let place = 2 + Int(octets[0]) % (octets.count - 2)
    signed[place] ^= 1
    if case .signed = TSIGVerification.verify(signed, keys: keys, now: 1_700_000_000) {
        demand(false, "a changed message passed")
    }
}
