/// What a milter may do to a message (`SMFIF_*`).
package struct MilterActions: OptionSet, Hashable, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package static let addHeaders = MilterActions(rawValue: 0x01)
    package static let replaceBody = MilterActions(rawValue: 0x02)
    package static let addRecipients = MilterActions(rawValue: 0x04)
    package static let deleteRecipients = MilterActions(rawValue: 0x08)
    /// Change and delete fields.
    package static let changeHeaders = MilterActions(rawValue: 0x10)
    package static let quarantine = MilterActions(rawValue: 0x20)
    package static let changeSender = MilterActions(rawValue: 0x40)
    /// Add recipients with parameters.
    package static let addRecipientsWithParameters = MilterActions(rawValue: 0x80)
    /// Say at the beginning which macros it wants.
    package static let chooseMacros = MilterActions(rawValue: 0x100)

    /// Everything that version 6 has.
    package static let all = MilterActions(rawValue: 0x1FF)
}

/// What a milter doesn't want to be told, or doesn't answer (`SMFIP_*`).
package struct MilterSteps: OptionSet, Hashable, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package static let noConnect = MilterSteps(rawValue: 0x1)
    package static let noHelo = MilterSteps(rawValue: 0x2)
    package static let noMail = MilterSteps(rawValue: 0x4)
    package static let noRecipient = MilterSteps(rawValue: 0x8)
    package static let noBody = MilterSteps(rawValue: 0x10)
    package static let noHeaders = MilterSteps(rawValue: 0x20)
    package static let noEndOfHeader = MilterSteps(rawValue: 0x40)
    package static let silentHeaders = MilterSteps(rawValue: 0x80)
    package static let noUnknown = MilterSteps(rawValue: 0x100)
    package static let noData = MilterSteps(rawValue: 0x200)
    /// It may say that it has seen enough of a body.
    package static let skip = MilterSteps(rawValue: 0x400)
    /// It wants to hear of recipients that were refused, too.
    package static let refusedRecipients = MilterSteps(rawValue: 0x800)
    package static let silentConnect = MilterSteps(rawValue: 0x1000)
    package static let silentHelo = MilterSteps(rawValue: 0x2000)
    package static let silentMail = MilterSteps(rawValue: 0x4000)
    package static let silentRecipient = MilterSteps(rawValue: 0x8000)
    package static let silentData = MilterSteps(rawValue: 0x10000)
    package static let silentUnknown = MilterSteps(rawValue: 0x20000)
    package static let silentEndOfHeader = MilterSteps(rawValue: 0x40000)
    package static let silentBody = MilterSteps(rawValue: 0x80000)
    /// Values of fields keep the white space behind the colon, in both directions.
    package static let leadingSpace = MilterSteps(rawValue: 0x100000)

    /// Everything that version 6 has, but for packets of more than 64 KiB.
    package static let all = MilterSteps(rawValue: 0x1FFFFF)

    /// Which of them keeps an event from being sent, and which one its reply.
    static func of(_ event: MilterEvent) -> (skipped: MilterSteps, silent: MilterSteps) {
        switch event {
        case .connect: (.noConnect, .silentConnect)
        case .helo: (.noHelo, .silentHelo)
        case .mail: (.noMail, .silentMail)
        case .recipient: (.noRecipient, .silentRecipient)
        case .data: (.noData, .silentData)
        case .unknown: (.noUnknown, .silentUnknown)
        case .header: (.noHeaders, .silentHeaders)
        case .endOfHeader: (.noEndOfHeader, .silentEndOfHeader)
        case .body: (.noBody, .silentBody)
        case .endOfMessage, .abort, .quit, .quitForNext: ([], [])
        }
    }
}
