import MIME

/// A message as signatures see it: its header, and its body hashed in every way that is needed.
package struct HashedMessage: Sendable {
    /// As it came, without the empty line.
    package let header: HeaderBlock
    /// The header was longer than the limit: what is here is its start, and nothing can be said of its signatures.
    package let isHeaderCut: Bool
    package let bodyHashes: [BodyHashMethod: BodyHash]
    let signatures: HeaderSignatures
    let fieldIndex: FieldIndex

    init(
        header: HeaderBlock,
        isHeaderCut: Bool,
        signatures: HeaderSignatures,
        bodyHashes: [BodyHashMethod: BodyHash]
    ) {
        self.header = header
        self.signatures = signatures
        self.isHeaderCut = isHeaderCut
        self.bodyHashes = bodyHashes
        fieldIndex = FieldIndex(header)
    }
}

/// How much a stranger's message may make a check do.
package struct SignatureLimits: Sendable {
    /// Octets of a header.
    package var headerOctets = 1 << 20
    /// DKIM signatures; those further down are not looked at.
    package var signatures = 10
    /// Message signatures of ARC sets, from the newest down; older ones count as if they didn't hold.
    package var chainSignatures = 10
    /// Octets that all seals of a message cover together.
    package var sealedOctets = 8 << 20
    /// Different ways to hash one body.
    package var bodyHashes = 8
    /// Key records of one name that are tried.
    package var keyRecords = 4
    /// Bits of an RSA key, at least (RFC 8301 §3.2).
    package var minimumKeyBits = 1024
    /// Bits of an RSA key, at most.
    package var maximumKeyBits = 4096
    /// Seconds by which the signer's clock may be ahead.
    package var clockSkew = 300
    /// A signature over a part of the body only (l=) is no signature (RFC 6376 §8.2).
    package var requiresWholeBody = false

    package init() {}
}

/// Takes a message in pieces of any size, and hashes its body once for all signatures that ask for the same.
package final class MessageHasher {
    private let limits: SignatureLimits
    private var methods: [BodyHashMethod]
    private let readsSignatures: Bool
    private var header: [UInt8] = []
    private var isHeaderCut = false
    /// Octets of the present header line; carriage returns count until the line feed shows that they end it.
    private var lineOctets = 0
    private var lastOctet: UInt8 = 0
    private var block: HeaderBlock?
    /// The signatures of the header, as soon as it has ended; none where it's longer than the limit.
    private(set) var signatures = HeaderSignatures(HeaderBlock([]), limit: 0)

    /// The header, as soon as it has ended: as it came, without the empty line. Its start where it's longer than the limit.
    package var endedHeader: HeaderBlock? { block }

    private var hashers: [(BodyHashMethod, BodyHasher)] = []

    /// - Parameters:
    ///   - methods: body hashes that are wanted besides those that signatures in the message ask for.
    ///   - readsSignatures: false for who wants the header alone.
    package init(
        methods: [BodyHashMethod] = [],
        limits: SignatureLimits = SignatureLimits(),
        readsSignatures: Bool = true
    ) {
        self.methods = methods
        self.limits = limits
        self.readsSignatures = readsSignatures
    }

    /// The next octets of the message.
    package func feed(_ octets: some Sequence<UInt8>) {
        let done: Void? = octets.withContiguousStorageIfAvailable { feed(UnsafeRawBufferPointer($0)) }
        if done == nil { Array(octets).withUnsafeBytes { feed($0) } }
    }

    /// The next octets of the message.
    package func feed(_ octets: UnsafeRawBufferPointer) {
        var rest = octets
        if block == nil {
            guard let end = feedHeader(octets) else { return }
            rest = UnsafeRawBufferPointer(rebasing: octets[end...])
        }
        guard !rest.isEmpty else { return }
        for (_, hasher) in hashers { hasher.update(rest) }
    }

    /// The next octets of the message, as far as they belong to its header, which has not ended before.
    ///
    /// - Returns: where the body begins in them; nil where it doesn't.
    package func feedHeader(_ octets: UnsafeRawBufferPointer) -> Int? {
        guard let end = endOfHeader(octets) else {
            keep(octets)
            return nil
        }
        keep(UnsafeRawBufferPointer(rebasing: octets[..<end]))
        beginBody()
        return end
    }

    /// The end of the message.
    package func finish() -> HashedMessage {
        if block == nil { beginBody() }
        var hashes: [BodyHashMethod: BodyHash] = [:]
        for (method, hasher) in hashers { hashes[method] = hasher.finish() }
        return HashedMessage(
            header: block ?? HeaderBlock([]),
            isHeaderCut: isHeaderCut,
            signatures: signatures,
            bodyHashes: hashes
        )
    }

    /// Where the body begins: behind the first empty line; nil where it isn't in these octets.
    private func endOfHeader(_ octets: UnsafeRawBufferPointer) -> Int? {
        var (line, last) = (lineOctets, lastOctet)
        for index in octets.indices {
            let octet = octets[index]
            if octet == ASCII.lineFeed {
                if line == 0 || (line == 1 && last == ASCII.carriageReturn) { return index + 1 }
                line = 0
            } else {
                line = min(line + 1, 2)
            }
            last = octet
        }
        (lineOctets, lastOctet) = (line, last)
        return nil
    }

    private func keep(_ octets: UnsafeRawBufferPointer) {
        let room = limits.headerOctets - header.count
        isHeaderCut = isHeaderCut || octets.count > room
        header.append(contentsOf: UnsafeRawBufferPointer(rebasing: octets.prefix(max(0, room))))
    }

    private func beginBody() {
        let block = HeaderBlock(header)
        header = []
        self.block = block
        guard !isHeaderCut, readsSignatures else { return }
        signatures = HeaderSignatures(block, limit: limits.signatures)
        for method in methods + signatures.read.map(\.bodyHashMethod) + Self.sealedMethods(in: block) {
            guard hashers.count < limits.bodyHashes + methods.count else { break }
            if !hashers.contains(where: { $0.0 == method }) { hashers.append((method, BodyHasher(method))) }
        }
    }

    /// What the message signatures of ARC sets ask for, in their order.
    private static func sealedMethods(in block: HeaderBlock) -> [BodyHashMethod] {
        ARCChain.messageSignatures(in: block).compactMap { field in
            try? DKIMSignature(field: block.octets[field.value], kind: .arcMessage).bodyHashMethod
        }
    }
}
