import Mailbox
import Testing

@Suite struct MboxTextTests {
    private func messages(_ text: String) -> [String] {
        MboxText.messages(in: Array(text.utf8)).map { String(decoding: $0, as: UTF8.self) }
    }

    @Test func messagesAreTakenOut() {
        let text = "From a Thu\nSubject: x\n\n>From b\n>>From c\nFrom d\n\nFrom e Thu\r\nSubject: y\r\n\r\nend"
        #expect(
            messages(text) == [
                "Subject: x\r\n\r\nFrom b\r\n>From c\r\nFrom d\r\n", "Subject: y\r\n\r\nend",
            ]
        )
    }

    @Test(arguments: ["", "Subject: x\n\nFrom a", "From: a@b\n\n", " From a"]) func otherTextIsNone(_ text: String) {
        #expect(!MboxText.isMbox(Array(text.utf8)))
    }

    @Test func onlyALineIsAnEmptyMessage() { #expect(messages("From a Thu") == [""]) }
}
