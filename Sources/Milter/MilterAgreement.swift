import NIOCore

/// What both sides agreed on at the beginning of a connection (`SMFIC_OPTNEG`).
package struct MilterAgreement: Sendable, Equatable {
    /// The newest version that we speak.
    package static let newestVersion: UInt32 = 6
    private static let oldestVersion: UInt32 = 2
    /// The most macros that one stage may ask for.
    private static let maximumMacros = 256

    /// 2 to 6.
    package let version: UInt32
    /// What the milter may do.
    package let actions: MilterActions
    /// What it isn't told, and doesn't answer.
    package let steps: MilterSteps
    /// The names of the macros that it wants, by stage; a stage that isn't there has those that are usual.
    package let macros: [MilterStage: Set<[UInt8]>]

    /// The packet that offers everything.
    package static var offer: ByteBuffer {
        var packet = ByteBuffer()
        packet.writeInteger(UInt32(13))
        packet.writeInteger(MilterCode.negotiate)
        packet.writeInteger(newestVersion)
        packet.writeInteger(MilterActions.all.rawValue)
        packet.writeInteger(MilterSteps.all.rawValue)
        return packet
    }

    /// Reads the milter's answer.
    package init(_ packet: MilterPacket) throws(MilterProtocolError) {
        guard packet.code == MilterCode.negotiate else { throw .unexpectedReply(packet.code) }
        var payload = packet.payload
        guard let version = payload.readInteger(as: UInt32.self), let actions = payload.readInteger(as: UInt32.self),
            let steps = payload.readInteger(as: UInt32.self)
        else { throw .malformed(packet.code) }
        guard (Self.oldestVersion...Self.newestVersion).contains(version) else { throw .unknownVersion(version) }
        self.version = version
        self.actions = MilterActions(rawValue: actions).intersection(.all)
        var agreed = MilterSteps(rawValue: steps).intersection(.all)
        // Older ones don't know the event.
        if version < 3 { agreed.insert(.noUnknown) }
        if version < 4 { agreed.insert(.noData) }
        self.steps = agreed
        var macros: [MilterStage: Set<[UInt8]>] = [:]
        while payload.readableBytes > 0 {
            guard let number = payload.readInteger(as: UInt32.self), let names = payload.readMilterString() else {
                throw .malformed(packet.code)
            }
            guard let stage = MilterStage(rawValue: number) else { continue }
            let words = names.split { $0 == 0x20 || $0 == 0x09 || $0 == 0x2C }
            guard words.count <= Self.maximumMacros else { throw .malformed(packet.code) }
            macros[stage, default: []].formUnion(words.map { MilterMacros.plain($0) })
        }
        self.macros = macros
    }

    /// Whether the milter is told of an event.
    package func wants(_ event: MilterEvent) -> Bool { steps.isDisjoint(with: MilterSteps.of(event).skipped) }

    /// Whether it answers an event.
    package func answers(_ event: MilterEvent) -> Bool {
        switch event {
        case .abort, .quit, .quitForNext: false
        default: steps.isDisjoint(with: MilterSteps.of(event).silent)
        }
    }

    /// Whether it may do what it asks for.
    package func allows(_ modification: MilterModification) -> Bool { actions.contains(modification.action) }
}
